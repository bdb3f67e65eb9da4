# Make this machine ready, and change nothing where it already is: .venv with the pinned packages, then the system
# libraries that OpenCV and MuJoCo load. scripts/demo and scripts/test source this file, then call `setup`.

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
python=.venv/bin/python
opencv_packages=(libgl1 libglib2.0-0) # newer releases call it libglib2.0-0t64, and take this name for it
egl_packages=(libegl1 libgl1-mesa-dri)
browser_packages=(chromium chromium-driver) # Debian's names; Ubuntu has Chromium as a snap alone

# setup [dev]: all that the command line needs; with `dev`, also the tools that scripts/test runs.
setup() {
    trap 'exit 130' INT # pip and apt answer Ctrl-C with an exit status like that of any failure
    exec 9>>scripts/setup.sh # nothing is appended: two first runs at once would write into one .venv
    flock --nonblock 9 || { say "Waiting for another setup in this folder"; flock 9; }
    install_packages "${1:-}"
    install_libraries
    if [ "${1:-}" = dev ]; then install_browser; fi
    exec 9>&-
}

install_packages() {
    local extra=$1 info
    if grep -qxF "$(packages_key) $extra" .venv/.setup-packages 2>/dev/null; then return; fi

    # What an interrupted pip left half-copied looks installed to the next one, but lacks the file written last.
    for info in .venv/lib/python3*/site-packages/*.dist-info; do
        if [ ! -e "$info/INSTALLER" ]; then rm -rf "$info"; fi
    done
    if ! new_enough $python || ! $python -c 'from importlib.metadata import version; version("pip")' 2>/dev/null; then
        make_venv
    fi
    say "Installing worldmodel and its pinned packages into .venv (takes minutes the first time)"
    quietly $python -m pip install -q --no-input --disable-pip-version-check -c constraints.txt -e ".[${extra:-live}]"
    if [ "$extra" = dev ]; then install_readers; fi
    # An installation with the tools also counts as one without.
    printf '%s\n' "$(packages_key) " "$(packages_key) $extra" >.venv/.setup-packages
}

# Packages to test the formats with, apart from .venv: they ask for other versions of what is in it, and reading needs
# little of that. The folder appears when it is whole.
install_readers() {
    if [ "$(cat .venv/readers/.key 2>/dev/null)" = "$(packages_key)" ]; then return; fi
    rm -rf .venv/readers .venv/readers.partial
    quietly $python -m pip install -q --no-input --disable-pip-version-check --no-deps --target .venv/readers.partial \
        -r scripts/readers.txt
    packages_key >.venv/readers.partial/.key
    mv .venv/readers.partial .venv/readers
}

# What an installation follows from. The folder too: an editable installation points to it.
packages_key() {
    { pwd; $python -VV; cat pyproject.toml constraints.txt scripts/readers.txt; } 2>/dev/null | sha256sum | cut -c 1-64
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

make_venv() {
    local base="" candidate
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if new_enough "$candidate"; then base=$candidate; break; fi
    done
    if [ -z "$base" ]; then
        fail "worldmodel needs Python 3.11 or later; 'python3' here is: $(python3 --version 2>&1 || true)." \
            "Install a later one (Debian 12 and Ubuntu 24.04 bring it as python3) and run this again."
    fi
    if ! "$base" -c 'import ensurepip' 2>/dev/null; then # Debian packs it apart; one line brings the libraries as well
        apt_install "$("$base" -c 'import sys; print("python3.%d-venv" % sys.version_info[1])')" \
            "${opencv_packages[@]}" "${egl_packages[@]}"
    fi
    say "Making .venv with $("$base" --version)"
    quietly "$base" -m venv --clear .venv
}

install_libraries() {
    local packages tried="" error
    if grep -qxF "$(libraries_key)" .venv/.setup-libraries 2>/dev/null; then return; fi

    say "Checking that OpenCV loads and MuJoCo renders without a display"
    while true; do
        packages=()
        error=$($python -c 'import cv2' 2>&1) || packages+=("${opencv_packages[@]}")
        error+=$($python -c 'from worldmodel.envs.gl import make_context; make_context(64, 64)[0].free()' 2>&1) ||
            packages+=($(gl_packages))
        if [ ${#packages[@]} = 0 ]; then break; fi
        if [ "${packages[*]}" = "$tried" ]; then
            fail "With ${packages[*]} installed it still does not work:" "$(tail -n 5 <<<"$error")"
        fi
        apt_install "${packages[@]}"
        tried=${packages[*]}
    done
    libraries_key >.venv/.setup-libraries
}

# A browser to test the live page in. Without one those tests are skipped, so nothing here is a failure.
install_browser() {
    if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then return; fi
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then return; fi
    say "Installing ${browser_packages[*]}, to test the live page in"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update && apt-get install -y --no-install-recommends "${browser_packages[@]}"; } >/dev/null 2>&1 ||
        say "They cannot be installed here: the tests of the live page in a browser will be skipped"
}

# The linker's cache changes when libraries come or go, and differs on another machine that shares the folder.
libraries_key() {
    echo "$(stat -c '%i %Y %s' /etc/ld.so.cache) ${MUJOCO_GL:-}"
}

# EGL; OSMesa where it is asked for, or where EGL is there and does not work.
gl_packages() {
    if [ "${MUJOCO_GL:-}" = osmesa ] || dpkg -s "${egl_packages[@]}" >/dev/null 2>&1; then
        echo libosmesa6
    else
        echo "${egl_packages[@]}"
    fi
}

apt_install() {
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        fail "System packages are missing. Run this line (Debian, Ubuntu), then this script again:" \
            "sudo apt-get update && sudo apt-get install -y $*"
    fi
    say "Installing the system packages $*"
    export DEBIAN_FRONTEND=noninteractive
    quietly apt-get update
    quietly apt-get install -y --no-install-recommends "$@"
}

# Run a command in silence; if it fails, show the end of what it said.
quietly() {
    local output
    if ! output=$("$@" 2>&1); then
        fail "Failed: $*" "$(tail -n 20 <<<"$output")"
    fi
}

say() {
    printf '[setup] %s\n' "$*" >&2
}

fail() {
    printf '[setup] %s\n' "$1" >&2
    printf '%s\n' "${@:2}" >&2
    exit 2
}
