# SPDX-License-Identifier: Apache-2.0

# cmake -DNM=nm -DREADELF=readelf -DOBJECT=file.o -DSYMBOL=name -P check_symbols.cmake
#
# Fails unless SYMBOL is the only symbol that OBJECT defines for the linker to see.
execute_process(COMMAND ${NM} -g --defined-only ${OBJECT} OUTPUT_VARIABLE listing
                RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "nm failed on ${OBJECT}")
endif()
string(REGEX REPLACE "\n$" "" listing "${listing}")
string(REPLACE "\n" ";" lines "${listing}")
list(LENGTH lines count)
if(NOT count EQUAL 1 OR NOT listing MATCHES " ${SYMBOL}$")
  message(FATAL_ERROR "${OBJECT} should export ${SYMBOL} alone, but exports:\n${listing}")
endif()
# Sections that could still be merged with those of another object.
execute_process(COMMAND ${READELF} -gW ${OBJECT} OUTPUT_VARIABLE groups RESULT_VARIABLE status)
if(NOT status EQUAL 0 OR groups MATCHES "COMDAT")
  message(FATAL_ERROR "${OBJECT} still holds section groups:\n${groups}")
endif()
