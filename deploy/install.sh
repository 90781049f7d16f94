#!/bin/sh
# The install steps of the image. The Dockerfile runs them, and so does tests/deploy/test_image_steps.py on a machine
# without Docker; keep them free of anything that only one of the two has.
#
#   sh deploy/install.sh dependencies PREFIX    a virtual environment in PREFIX with what requirements-runtime.lock pins
#   sh deploy/install.sh project PREFIX         Foretell itself into that virtual environment
#
# Run it in the project's folder, in this order; two steps, so that a change of code alone installs no dependency again.
# PREFIX is final: a virtual environment holds its own path. PYTHON chooses the interpreter.
set -eu

step=${1:?usage: install.sh dependencies|project PREFIX}
prefix=${2:?usage: install.sh dependencies|project PREFIX}
tools=$prefix.build # pip and the build backend live beside the prefix and never reach the image

# Every package comes with its hash, and as a wheel: source packages would run their own code here.
install() {
    target=$1
    shift
    "$tools/bin/python" -m pip --python "$target/bin/python" install --disable-pip-version-check --no-input \
        --require-hashes --only-binary :all: "$@"
}

# The build backend is pinned with its hashes in requirements.lock, among all of the tools for development. pip takes
# no hash from a constraints file, so the few that a build needs are copied out of it, each with its hashes. A later
# hatchling that needs one more fails here: pip refuses what has no hash, and says its name.
build_requirements() {
    awk -v wanted=" editables hatchling packaging pathspec pluggy tomlkit trove-classifiers " '
        /^[^ #]/ { split($0, pin, "=="); keep = index(wanted, " " pin[1] " ") }
        keep
    ' requirements.lock
}

case $step in
dependencies)
    "${PYTHON:-python3}" -m venv "$tools"
    "${PYTHON:-python3}" -m venv --without-pip "$prefix" # nothing in the image can install more
    install "$prefix" --requirement requirements-runtime.lock
    ;;
project)
    build_requirements >"$tools/build.lock"
    install "$tools" --requirement "$tools/build.lock"
    rm -rf "$tools/wheels"
    "$tools/bin/python" -m pip wheel --disable-pip-version-check --no-input --no-deps --no-build-isolation \
        --check-build-dependencies --wheel-dir "$tools/wheels" .
    # built from this folder a moment ago: there is no hash to compare it with, and no index is asked
    "$tools/bin/python" -m pip --python "$prefix/bin/python" install --disable-pip-version-check --no-input \
        --no-deps --no-index --force-reinstall "$tools"/wheels/foretell-*.whl
    ;;
*)
    echo "install.sh: no step '$step'; expected dependencies or project" >&2
    exit 2
    ;;
esac
