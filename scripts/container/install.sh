#!/bin/sh
# Puts the program into the path of the image, and makes its user and the folder of its runs.
set -eu
ln -s /opt/llama2-bench/bin/llama2-bench /usr/local/bin/llama2-bench
groupadd --gid 1000 bench
useradd --uid 1000 --gid 1000 --no-create-home --home-dir /runs bench
# Another user may be chosen with --user.
install -d -o bench -g bench -m 1777 /runs
