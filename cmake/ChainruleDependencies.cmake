# SPDX-License-Identifier: Apache-2.0

# A static library passes what it links on to whoever links it, also from another directory.
set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)

# Linked. chainruleConfig.cmake.in looks for the same ones when the install is static.
find_package(Threads REQUIRED)
find_package(TBB 2021 CONFIG REQUIRED COMPONENTS tbb)
find_package(ZLIB REQUIRED)
find_package(ChainruleOpenBLAS REQUIRED)

# Headers that only our own sources include; consumers never need these.
find_package(xsimd 8.1 CONFIG REQUIRED)
find_package(fmt CONFIG REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)
find_package(Eigen3 3.4 CONFIG REQUIRED)
find_path(CHAINRULE_LBFGSPP_INCLUDE_DIR LBFGS.h REQUIRED)
find_path(CHAINRULE_RANDOM123_INCLUDE_DIR Random123/philox.h REQUIRED)

set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL OFF)
