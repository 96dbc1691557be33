# SPDX-License-Identifier: Apache-2.0
#[[
Finds OpenBLAS and defines ChainruleOpenBLAS::ChainruleOpenBLAS.

The pthread flavour comes first wherever a distribution has several: calls from many threads give
wrong results with the serial one, and the OpenMP one resets its thread count. Debian names the
flavours by directory (openblas-pthread/), Fedora by library (libopenblasp).
]]
find_library(
  ChainruleOpenBLAS_LIBRARY
  NAMES openblasp openblas
  PATH_SUFFIXES openblas-pthread
  DOC "The OpenBLAS library, pthread flavour")

# cblas.h also comes with the reference BLAS; openblas_config.h only lies beside the right one.
find_path(
  ChainruleOpenBLAS_INCLUDE_DIR
  NAMES openblas_config.h
  PATH_SUFFIXES openblas-pthread openblas
  DOC "Where OpenBLAS keeps cblas.h")

if(ChainruleOpenBLAS_INCLUDE_DIR)
  file(STRINGS ${ChainruleOpenBLAS_INCLUDE_DIR}/openblas_config.h _chainrule_openblas_version
       REGEX "define OPENBLAS_VERSION")
  string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" ChainruleOpenBLAS_VERSION
               "${_chainrule_openblas_version}")
  unset(_chainrule_openblas_version)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  ChainruleOpenBLAS
  REQUIRED_VARS ChainruleOpenBLAS_LIBRARY ChainruleOpenBLAS_INCLUDE_DIR
  VERSION_VAR ChainruleOpenBLAS_VERSION)
mark_as_advanced(ChainruleOpenBLAS_LIBRARY ChainruleOpenBLAS_INCLUDE_DIR)

if(ChainruleOpenBLAS_FOUND AND NOT TARGET ChainruleOpenBLAS::ChainruleOpenBLAS)
  add_library(ChainruleOpenBLAS::ChainruleOpenBLAS UNKNOWN IMPORTED)
  set_target_properties(
    ChainruleOpenBLAS::ChainruleOpenBLAS
    PROPERTIES IMPORTED_LOCATION "${ChainruleOpenBLAS_LIBRARY}"
               INTERFACE_INCLUDE_DIRECTORIES "${ChainruleOpenBLAS_INCLUDE_DIR}")
endif()
