#!/usr/bin/env bash
# Gets what vkbackend needs to be built and tested; `make setup` calls it. Run it as often as you
# like. Debian 12 and newer: it installs what is missing. Other systems: it says what is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
tools=$root/.tools
apt_folder=/etc/apt
python=${PYTHON:-python3}
minimum_glslang=15
. scripts/setup_debian.sh

say() { printf '%s\n' "$*"; }

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# Runs a command in silence; when it fails, shows the command and what it printed.
quietly() {
    "$@" >"$log" 2>&1 </dev/null && return
    { printf 'setup: this command failed:\n  %s\nit said:\n' "$*" && sed 's/^/  /' "$log"; } >&2
    return 1
}

have_file() { # have_file PATTERN...: is any of these there?
    local path
    for path in "$@"; do [ ! -e "$path" ] || return 0; done
    return 1
}

have_loader() {
    have_file /usr/lib/*/libvulkan.so.1 /usr/lib/libvulkan.so.1 /usr/lib64/libvulkan.so.1 \
        /usr/local/lib/libvulkan.so.1 /usr/local/lib/libvulkan*.dylib \
        /opt/homebrew/lib/libvulkan*.dylib \
        ${VULKAN_SDK:+"$VULKAN_SDK"/lib/libvulkan*}
}

have_driver() { # have_driver PATTERN: is there a driver whose file is named so?
    local folder
    for folder in /usr/share /etc /usr/local/share /opt/homebrew/share "${HOME:-}/.local/share"; do
        # shellcheck disable=SC2086  # the name is a pattern
        have_file "$folder"/vulkan/icd.d/$1.json && return
    done
    return 1
}

have_validation_layer() {
    local folder
    for folder in /usr/share /etc /usr/local/share /opt/homebrew/share \
        "${VULKAN_SDK:-/usr}/share"; do
        have_file "$folder"/vulkan/explicit_layer.d/*khronos_validation.json && return
    done
    return 1
}

have_glslang() { # in .tools or in PATH, and new enough
    local candidate major
    for candidate in "$tools/bin/glslangValidator" glslangValidator; do
        major=$("$candidate" --version 2>/dev/null |
            sed -n 's/^Glslang Version: [0-9]*:\([0-9]*\)\..*/\1/p') || true
        [ "${major:-0}" -lt "$minimum_glslang" ] || return 0
    done
    return 1
}

have_spirv_val() { [ -x "$tools/bin/spirv-val" ] || command -v spirv-val >/dev/null; }

have_swiftshader() { [ -e "$tools/swiftshader/vk_swiftshader_icd.json" ]; }

has_venv_module() { "$python" -c 'import venv, ensurepip' 2>/dev/null; }

# Elsewhere than on Debian nothing is installed: one message names everything that is missing.
require_by_hand() {
    missing=""
    have_loader || lacks "the Vulkan loader: package vulkan-loader, vulkan-icd-loader or" \
        "libvulkan1, or the Vulkan SDK"
    have_driver '*' || [ -n "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ] ||
        lacks "a Vulkan driver, your GPU's or Mesa's lavapipe: package mesa-vulkan-drivers or" \
            "vulkan-swrast"
    have_glslang || lacks "glslangValidator $minimum_glslang or newer in PATH: package glslang or" \
        "glslang-tools, or the Vulkan SDK"
    [ -e .venv/.stamp ] || has_venv_module || lacks "Python 3.10 or newer with its venv module:" \
        "package python3 or python3-venv; PYTHON=... names another"
    [ -z "$missing" ] ||
        fail "this is not Debian 12 or newer, so nothing is installed for you. Missing:$missing
Install these, then run \`make setup\` again."
    have_spirv_val || say "no spirv-val (SPIRV-Tools): compiled shaders are not validated"
    have_validation_layer || say "no Vulkan validation layer: the tests that need it will be skipped"
    have_swiftshader || say "no SwiftShader in .tools/swiftshader: its tests will be skipped"
}

lacks() {
    missing+="
  - $*"
}

# The stamp is written last. Without it, or in a checkout that was moved, .venv is made afresh.
make_venv() {
    local stamp old_stamp version
    stamp="$root $(cksum <pyproject.toml)"
    old_stamp=$(cat .venv/.stamp 2>/dev/null) || true
    .venv/bin/python -c '' 2>/dev/null || old_stamp=""
    [ "$old_stamp" != "$stamp" ] || return 0
    if [ -z "$old_stamp" ] || [ "${old_stamp#"$root "}" = "$old_stamp" ]; then
        old_stamp=""
        version=$("$python" --version 2>&1) || version="not there"
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
            fail "Python 3.10 or newer is needed, and $python is $version:" \
                "name another, make setup PYTHON=python3.12"
        say "creating the virtual environment .venv ($version) ..."
        quietly "$python" -m venv --clear .venv
    fi
    rm -f .venv/.stamp
    say "installing vkbackend and its development tools into .venv ..."
    if ! quietly .venv/bin/python -m pip --disable-pip-version-check install -e '.[dev]'; then
        # What pip itself gave up on can be tried again as it is; only a killed run starts afresh.
        [ -z "$old_stamp" ] || printf '%s\n' "$old_stamp" >.venv/.stamp
        exit 1
    fi
    printf '%s\n' "$stamp" >.venv/.stamp
}

prepare() {
    mkdir -p "$tools"
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    # Two runs in one checkout wait for each other.
    ! command -v flock >/dev/null || { exec 9>"$tools/lock" && flock 9; }
}

main() {
    prepare
    if is_supported_debian; then install_on_debian; else require_by_hand; fi
    make_venv
}

# vendor_drivers.sh sources this file for its functions.
[ "${BASH_SOURCE[0]}" != "$0" ] || main
