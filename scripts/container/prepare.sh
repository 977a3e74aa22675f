#!/bin/sh
# Installs what the build stage of the Dockerfile needs beside Rust.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends g++ make python3 python3-pip >/dev/null
rm -rf /var/lib/apt/lists/*
