#!/usr/bin/env bash
# Installs Debian's Redis, without starting it; fails where that is not possible.
set -euo pipefail
[ "$(id -u)" = 0 ]
export RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive
install() { apt-get -qq install -y --no-install-recommends redis-server; }
install || { apt-get -qq update && install; }
