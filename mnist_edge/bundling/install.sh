#!/bin/sh
# Installs mnist-edge from this folder, without a network: sh install.sh [FOLDER], by default into ~/edge.
# Exit codes: 3 this machine is not the one that the bundle is for, 4 a file is damaged, 5 the installation failed.
set -eu
fail() {
    echo "install: $2" >&2
    echo "  remedy: $3" >&2
    exit "$1"
}
cd "$(dirname "$0")"
target=${1:-$HOME/edge}
[ "$(uname -m)" = @MACHINE@ ] || fail 3 "This bundle is for @MACHINE@, this machine is $(uname -m)." "Make one for it: mnist-edge bundle --target."
command -v python@PYTHON@ >/dev/null || fail 3 "This bundle is for Python @PYTHON@, which is not here." "Make one for the Python that is: mnist-edge bundle --target."
sha256sum --check --quiet SHA256SUMS >&2 || fail 4 "A file of this bundle is damaged." "Copy the bundle again."
# pip runs from its wheel, because Raspberry Pi OS may lack python3-venv, which would install it.
python@PYTHON@ -m venv --without-pip "$target" || fail 5 "No environment could be made in $target." "Name another folder: sh install.sh FOLDER."
set -- pip/pip-*.whl
"$target/bin/python" "$1/pip" install --quiet --no-index --find-links wheels --disable-pip-version-check @REQUIREMENT@ ||
    fail 5 "The wheels could not be installed into $target." "Make room, or name another folder: sh install.sh FOLDER."
"$target/bin/mnist-edge" verify --shipped --selftest
echo
echo "Next:"
# The models in the wheel were made for MNIST, which is in IDX files.
[ @DATA@ = data ] && echo "  $target/bin/mnist-edge verify --shipped --data $PWD/@DATA@"
for model in models/*/; do
    [ -d "$model" ] && echo "  $target/bin/mnist-edge verify $PWD/${model%/} --data $PWD/@DATA@"
done
echo "  $target/bin/mnist-edge predict digit.png"
