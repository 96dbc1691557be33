# SPDX-License-Identifier: Apache-2.0
#
# cmake -D SOURCE_DIR=... -P scripts.cmake
#
# The scripts in tools/ answer misuse on standard error, with exit code 2 and before they do anything.
cmake_minimum_required(VERSION 3.25)

function(expect_misuse message)
  execute_process(
    COMMAND bash ${ARGN}
    WORKING_DIRECTORY ${SOURCE_DIR}/tools
    RESULT_VARIABLE result
    OUTPUT_VARIABLE output
    ERROR_VARIABLE error)
  if(NOT result EQUAL 2 OR output OR NOT error MATCHES "${message}")
    message(SEND_ERROR "${ARGN}: exit code ${result}, output '${output}', errors '${error}'; "
                       "expected 2, nothing and '${message}'")
  endif()
endfunction()

expect_misuse("^run-tests: --preset needs a name" run-tests --preset)
expect_misuse("^run-tests: --preset needs a name" run-tests --preset --all)
expect_misuse("^run-tests: --label needs a label" run-tests --label)
expect_misuse("^run-tests: --jobs needs a number" run-tests --jobs)
expect_misuse("^run-tests: unknown option 'all'" run-tests all)
expect_misuse("^run-tests: --all already includes" run-tests --all --label slow)
expect_misuse("^quickstart: it takes no arguments, got 'foo'" quickstart foo)
