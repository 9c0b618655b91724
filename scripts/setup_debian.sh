# shellcheck shell=bash disable=SC2154  # its variables are setup.sh's
# Debian's part of setup.sh, which sources this file: packages of the system through apt, and others
# unpacked under .tools/ without touching the system's libraries or its apt configuration.

is_supported_debian() {
    command -v apt-get >/dev/null && [ -e /etc/os-release ] || return 1
    # testing and unstable have no number
    (. /etc/os-release && [ "${ID:-}" = debian ] && [ "${VERSION_ID:-99}" -ge 12 ])
}

release() { # release FIELD DEFAULT: a field of /etc/os-release
    (. /etc/os-release && printf %s "${!1:-$2}")
}

install_on_debian() {
    packages=()
    local unpacks_glslang=""
    have_glslang || glslang_package_is_new || unpacks_glslang=yes
    have_loader || need "the Vulkan loader" libvulkan1
    have_driver 'lvp_icd*' || need lavapipe mesa-vulkan-drivers
    have_validation_layer || need "the Vulkan validation layer" vulkan-validationlayers
    have_glslang || [ -n "$unpacks_glslang" ] || need glslangValidator glslang-tools
    have_spirv_val || [ -n "$unpacks_glslang" ] || need spirv-val spirv-tools
    if [ ! -e .venv/.stamp ] && [ "$python" = python3 ] && ! has_venv_module; then
        need "Python's venv module" python3-venv
    fi
    [ "${#packages[@]}" = 0 ] || install_packages
    [ -z "$unpacks_glslang" ] || unpack_glslang
    have_swiftshader || unpack_swiftshader ||
        say "SwiftShader is not to be had from Debian's chromium-common: its tests will be skipped"
}

need() {
    say "installing $1 ($2) ..."
    packages+=("$2")
}

# Installs from the package lists that are there; only if that fails are the lists fetched anew.
install_packages() {
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
    local install=(install -y --no-install-recommends "${packages[@]}")
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null ||
            fail "root is needed to install packages. Run this, then \`make setup\` again:
  sudo apt-get update && sudo apt-get install --no-install-recommends ${packages[*]}"
        apt=(sudo -n "${apt[@]}")
    fi
    "${apt[@]}" "${install[@]}" >"$log" 2>&1 </dev/null && return
    # Another source's failing update is no reason to stop: the install shows whether it matters.
    quietly "${apt[@]}" -o APT::Update::Error-Mode=any update || true
    quietly "${apt[@]}" "${install[@]}"
}

# Is glslang-tools of this release new enough? Without package lists the release's number tells.
glslang_package_is_new() {
    local major
    major=$(apt-cache policy glslang-tools 2>/dev/null |
        sed -n 's/^ *Candidate: \([0-9]*:\)\{0,1\}\([0-9][0-9]*\)[.].*/\2/p')
    if [ -n "$major" ]; then
        [ "$major" -ge "$minimum_glslang" ]
    else
        [ "$(release VERSION_ID 99)" -ge 13 ]
    fi
}

# Writes .tools/apt/SUITE: an apt of its own (lists, cache, state) that reads one suite, from the
# place and with the key that the system's own Debian source names.
prepare_apt() { # prepare_apt SUITE [ARCHITECTURE]
    local suite=$1 folder=$tools/apt/$1 architecture=${2:-$(dpkg --print-architecture)}
    rm -rf "$folder"
    mkdir -p "$folder/lists/partial" "$folder/archives/partial" "$folder/state"
    write_source "$suite" "$folder" || return 1
    cat >"$folder/apt.conf" <<CONF
#clear APT::Update;
Dir::Etc::sourcelist "$(ls "$folder"/debian.*)";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "$folder/state";
Dir::State::lists "$folder/lists";
Dir::State::status "/dev/null";
Dir::Cache "$folder";
Dir::Cache::archives "$folder/archives";
APT::Architecture "$architecture";
APT::Architectures { "$architecture"; };
APT::Sandbox::User "root";
APT::Install-Recommends "false";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Debug::NoLocking "1";
CONF
    quietly apt-get -q -c "$folder/apt.conf" update
}

# Copies the system's own Debian source with another suite, in the form that it has there:
# debian.sources (one paragraph a source) or sources.list (one line a source).
write_source() {
    local suite=$1 folder=$2 file own
    own="($(release VERSION_CODENAME sid)|stable|testing|unstable|sid)"
    for file in "$apt_folder"/sources.list.d/debian.sources "$apt_folder"/sources.list \
        "$apt_folder"/sources.list.d/*.sources "$apt_folder"/sources.list.d/*.list; do
        [ -e "$file" ] || continue
        case $file in
        *.sources) paragraph_for "$suite" "$own" "$file" >"$folder/debian.sources" ;;
        *) line_for "$suite" "$own" "$file" >"$folder/debian.list" ;;
        esac
        if [ -s "$folder/debian.sources" ] || [ -s "$folder/debian.list" ]; then break; fi
    done
    find "$folder" -maxdepth 1 -name 'debian.*' -empty -delete
    [ -n "$(find "$folder" -maxdepth 1 -name 'debian.*')" ] || {
        printf 'setup: no Debian source with the component main in %s\n' "$apt_folder" >&2
        return 1
    }
}

paragraph_for() { # paragraph_for SUITE OWN_SUITES FILE
    awk -v RS= -v own="$2" '
        { fields = "\n" tolower($0) "\n" }
        fields ~ /\nenabled:[ \t]*(no|false|off|0)/ { next }
        fields ~ /\ntypes:[^\n]*deb[ \n]/ && fields ~ /\ncomponents:[^\n]* main[ \n]/ &&
            fields ~ "\nsuites:[^\n]*[ \t]" own "[ \n]" { print; exit }' "$3" |
        sed -e '/^#/d' -e "s/^[Ss]uites:.*/Suites: $1/" -e 's/^[Tt]ypes:.*/Types: deb/' \
            -e 's/^[Cc]omponents:.*/Components: main/'
}

line_for() { # line_for SUITE OWN_SUITES FILE
    tr '\t' ' ' <"$3" |
        sed -n -E "s/^deb +(\[[^]]*\] +)?([^ ]+) +$2 +(.* )?main( .*)?$/deb \1\2 $1 main/p" |
        sed 1q
}

# Debian 13's glslang, and the libraries that it was linked against, all in one folder: run by their
# own dynamic loader, because the system's C library is older.
unpack_glslang() {
    local folder=$tools/apt/trixie partial=$tools/glslang.partial package loader program
    say "unpacking glslangValidator and spirv-val (of Debian 13) into .tools/glslang ..."
    prepare_apt trixie || fail "Debian 13's package list cannot be read. If its key is missing:" \
        "apt-get install debian-archive-keyring"
    # With an empty status file nothing counts as installed: every library is fetched too.
    quietly apt-get -q -c "$folder/apt.conf" install -y --download-only glslang-tools spirv-tools
    rm -rf "$partial"
    mkdir -p "$partial" "$tools/bin"
    for package in "$folder"/archives/*.deb; do quietly dpkg-deb -x "$package" "$partial"; done
    # Only these programs and the shared libraries are of use.
    rm -rf "$folder"
    (cd "$partial" && rm -rf etc var usr/share usr/lib/*/gconv)
    find "$partial" ! -type d ! -name 'lib*.so*' ! -name 'ld-linux*' ! -name 'glslang*' \
        ! -name spirv-dis ! -name spirv-val -delete
    find "$partial" -depth -type d -empty -delete
    loader=$(cd "$partial" && find usr/lib/*/ -maxdepth 1 -name 'ld-linux*.so.*' | sed 1q)
    rm -rf "$tools/glslang"
    mv "$partial" "$tools/glslang"
    # glslangValidator comes last: that it runs says that all of them are there.
    for program in spirv-dis spirv-val glslangValidator; do write_wrapper "$program" "$loader"; done
    have_glslang || fail "the unpacked glslang does not run:" \
        "see what \`.tools/bin/glslangValidator --version\` says"
}

write_wrapper() { # write_wrapper PROGRAM LOADER
    local wrapper=$tools/bin/$1
    cat >"$wrapper.partial" <<WRAPPER
#!/bin/sh
# Runs the unpacked $1 by its own dynamic loader: the system's libraries may be older.
glslang=\${0%/*}/../glslang
libraries=\$glslang/${2%/*}
exec "\$glslang/$2" --library-path "\$libraries" "\$glslang/usr/bin/$1" "\$@"
WRAPPER
    chmod +x "$wrapper.partial"
    mv "$wrapper.partial" "$wrapper"
}

# SwiftShader is one library inside Debian's Chromium: only that, and the file that announces it to
# the Vulkan loader, are kept.
unpack_swiftshader() {
    local codename folder partial=$tools/swiftshader.partial
    codename=$(release VERSION_CODENAME sid)
    folder=$tools/apt/$codename
    say "unpacking SwiftShader (from chromium-common) into .tools/swiftshader ..."
    prepare_apt "$codename" || return 1
    (cd "$folder/archives" && quietly apt-get -q -c "$folder/apt.conf" download chromium-common) ||
        return 1
    rm -rf "$partial"
    mkdir -p "$partial"
    quietly take_swiftshader "$folder"/archives/*.deb "$partial" || return 1
    rm -rf "$folder" "$tools/swiftshader"
    mv "$partial" "$tools/swiftshader"
}

take_swiftshader() { # take_swiftshader PACKAGE FOLDER
    dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" --strip-components=4 \
        ./usr/lib/chromium/libvk_swiftshader.so ./usr/lib/chromium/vk_swiftshader_icd.json
}
