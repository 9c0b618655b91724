#!/usr/bin/env bash
# Gets Mesa's real drivers for GPUs that are not here, each with the shim that plays the hardware's
# part, into .tools/vendor/; `make vendor-drivers` calls it after `make setup`. Adreno's, Radeon's
# and a new lavapipe are x86_64 programs; Mali's are arm64 and run under QEMU. Debian's packages are
# unpacked and run by their own dynamic loader and Python: nothing is installed on the system.
# With the argument `lavapipe` only the x86_64 ones, for `make modern-lavapipe`.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
vendor=$tools/vendor
packages_of_root=(mesa-vulkan-drivers mesa-drm-shim libvulkan1 python3-minimal libpython3-stdlib
    python3-cffi-backend python3-numpy)
tried=(turnip:750 panvk:G610) # one driver of each root

# Drivers and shims must be of one version, and unstable moves on: what was fetched is kept, and
# `make vendor-drivers` unpacks it again. For a newer Mesa: rm -r .tools/vendor.
fetch_packages() { # fetch_packages ARCHITECTURE
    local folder=$tools/apt/sid kept=$vendor/packages/$1
    [ ! -d "$kept" ] || return 0
    say "downloading Mesa's drivers for $1 (of Debian unstable, 90 MB) ..."
    prepare_apt sid "$1" || fail "Debian unstable's package list cannot be read. If its key is" \
        "missing: apt-get install debian-archive-keyring"
    # With an empty status file nothing counts as installed: every library is fetched too.
    quietly apt-get -q -c "$folder/apt.conf" install -y --download-only "${packages_of_root[@]}"
    mkdir -p "${kept%/*}"
    mv "$folder/archives" "$kept"
    rm -rf "$folder"
}

unpack_root() { # unpack_root MACHINE ARCHITECTURE: the folder's name comes last
    local root=$vendor/$1 partial=$vendor/$1.partial name package
    [ ! -d "$root" ] || return 0
    fetch_packages "$2"
    say "unpacking Mesa's drivers for $2 into .tools/vendor/$1 ..."
    rm -rf "$partial"
    for name in bin lib lib64 sbin; do
        mkdir -p "$partial/usr/$name"
        ln -s "usr/$name" "$partial/$name"
    done
    for package in "$vendor/packages/$2"/*.deb; do quietly dpkg-deb -x "$package" "$partial"; done
    (cd "$partial/usr" && rm -rf share/doc share/man share/locale share/zoneinfo include)
    # The loader takes a path with a slash as relative to the file that names the driver.
    sed -i -E "s|(\"library_path\": *\")([^\"]*/)?|\1../../../lib/$1-linux-gnu/|" \
        "$partial"/usr/share/vulkan/icd.d/*.json
    mv "$partial" "$root"
    is_fresh=yes
}

unpack_qemu() {
    local folder=$tools/apt/bookworm program=$vendor/qemu-aarch64
    [ ! -x "$program" ] || return 0
    say "unpacking QEMU (qemu-user-static of Debian 12, 63 MB) into .tools/vendor ..."
    prepare_apt bookworm || fail "Debian 12's package list cannot be read"
    (cd "$folder/archives" && quietly apt-get -q -c "$folder/apt.conf" download qemu-user-static) ||
        exit 1
    quietly take_qemu "$folder"/archives/*.deb "$program.partial" || exit 1
    chmod +x "$program.partial"
    mv "$program.partial" "$program"
    rm -rf "$folder"
    is_fresh=yes
}

take_qemu() { # take_qemu PACKAGE FILE
    dpkg-deb --fsys-tarfile "$1" | tar -xO ./usr/bin/qemu-aarch64-static >"$2"
}

# What the roots' Python imports besides its own: this package, and the binding, which is pure
# Python. The rest of .venv is made for another Python.
link_modules() {
    local binding
    binding=$(cd .venv && find lib/python*/site-packages -maxdepth 1 -name vulkan | sed 1q)
    [ -n "$binding" ] || fail "the binding 'vulkan' is not in .venv: run \`make setup\` first"
    mkdir -p "$vendor/modules"
    ln -sfn "../../../.venv/$binding" "$vendor/modules/vulkan"
    ln -sfn ../../../vkbackend "$vendor/modules/vkbackend"
}

# Byte code for both roots, made by the quick one: under QEMU it would take a minute.
compile_modules() {
    local libraries=$vendor/x86_64/usr/lib/x86_64-linux-gnu root
    say "compiling the drivers' Python modules ..."
    for root in x86_64 aarch64; do
        [ -d "$vendor/$root" ] || continue
        PYTHONHOME=$vendor/x86_64/usr quietly "$libraries/ld-linux-x86-64.so.2" \
            --library-path "$libraries:$libraries/blas:$libraries/lapack" \
            "$vendor"/x86_64/usr/bin/python3.?? -m compileall -q -x '/tests?/' \
            "$vendor/$root"/usr/lib/python3 "$vendor/$root"/usr/lib/python3.?? || return 1
    done
}

fetch_drivers() {
    is_supported_debian || fail "the drivers come from Debian's packages, and this is not Debian" \
        "12 or newer"
    [ "$(uname -m)" = x86_64 ] || fail "the drivers run on x86_64 machines, and this is $(uname -m)"
    is_fresh=""
    mkdir -p "$vendor"
    unpack_root x86_64 amd64
    if [ "$1" = all ]; then
        unpack_root aarch64 arm64
        unpack_qemu
    else
        tried=(lavapipe:26)
    fi
    link_modules
    [ -z "$is_fresh" ] && [ -e "$vendor/tried-$1" ] && return
    compile_modules
    say "trying ${tried[*]} ..."
    quietly .venv/bin/python -m vkbackend.vendor "${tried[@]}"
    cp "$log" "$vendor/tried-$1"
}

prepare
fetch_drivers "${1:-all}"
if [ "${1:-all}" = all ]; then
    say "the drivers are there: .venv/bin/vkbackend inspect NETWORK --driver turnip:750"
fi
