# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
#
# Sourced by the scripts beside it: which packages a build needs, and how to get them.

readonly build_packages=(
  cmake g++ ninja-build pkg-config
  libcli11-dev libeigen3-dev libfmt-dev liblbfgspp-dev libmuparser-dev libopenblas-pthread-dev
  librandom123-dev libtbb-dev libxsimd-dev nlohmann-json3-dev zlib1g-dev
)
readonly test_packages=(clang clang-format libbenchmark-dev libgmock-dev libgtest-dev)
readonly data_packages=(dataset-fashion-mnist)  # for the slow tests
readonly peer_packages=(libdnnl-dev libtorch-dev)  # what benchmarks/peers compares with

# Installs what is missing of the Debian packages given; elsewhere only names what is needed.
ensure_packages() {
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "This is not Debian: please install the equivalents of"
    echo "    $*"
    echo "if they are not there yet. Going on."
    return
  fi
  local package missing=()
  for package in "$@"; do
    if [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) != installed ]]; then
      missing+=("$package")
    fi
  done
  if ((${#missing[@]} == 0)); then
    return
  fi

  local -a as_root=(env DEBIAN_FRONTEND=noninteractive)
  if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
      echo "Missing, and neither root nor sudo to install them: ${missing[*]}" >&2
      return 1
    fi
    as_root=(sudo env DEBIAN_FRONTEND=noninteractive)
  fi
  echo "Installing ${missing[*]}"
  "${as_root[@]}" apt-get -qq update
  "${as_root[@]}" apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
}
