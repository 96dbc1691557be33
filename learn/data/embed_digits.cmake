# SPDX-License-Identifier: Apache-2.0

# cmake -DINPUT=digits.csv -DOUTPUT=digits_data.cpp -P embed_digits.cmake
# A file of small integers is nearly a C++ initializer: only the line ends lack a comma.
file(READ ${INPUT} numbers)
string(STRIP "${numbers}" numbers)
string(REPLACE "\r" "" numbers "${numbers}")
string(REPLACE "\n" ",\n" numbers "${numbers}")
file(
  WRITE ${OUTPUT}
  "// SPDX-License-Identifier: Apache-2.0\n"
  "// Made from learn/data/digits.csv by embed_digits.cmake.\n"
  "#include \"digits_data.hpp\"\n\n"
  "namespace chainrule::internal {\n\n"
  "const unsigned char kDigits[] = {\n"
  "${numbers}};\n\n"
  "static_assert(sizeof(kDigits) == kDigitsRows * (kDigitsPixels + 1));\n\n"
  "}  // namespace chainrule::internal\n")
