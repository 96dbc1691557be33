// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/csv.hpp"

#include <gmock/gmock.h>

#include <clocale>
#include <cmath>
#include <limits>
#include <sstream>

#include "chainrule/core/error.hpp"
#include "file_support.hpp"

namespace chainrule {
namespace {

using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;

std::string refusal_of_csv(std::string_view text, const CsvOptions& options = {}) {
  return error_of([&] { parse_csv(text, options); });
}

TEST(Csv, ReadsNumbersTextAndHeader) {
  const CsvTable table = parse_csv("a,b,kind\n1,-2.5e3,x\n +3 ,.5, y \n");
  EXPECT_TRUE(table.has_header);
  EXPECT_THAT(table.names, ElementsAre("a", "b", "kind"));
  EXPECT_EQ(table.rows, 2);
  EXPECT_THAT(table.columns[0].numbers, ElementsAre(1, 3));
  EXPECT_THAT(table.columns[1].numbers, ElementsAre(-2500, 0.5));
  EXPECT_FALSE(table.columns[2].is_numeric());
  EXPECT_THAT(table.columns[2].texts, ElementsAre("x", "y"));
}

TEST(Csv, DetectsTheHeader) {
  EXPECT_FALSE(parse_csv("1,2\n3,4\n").has_header);
  EXPECT_THAT(parse_csv("1,2\n3,4\n").names, ElementsAre("column_0", "column_1"));
  EXPECT_FALSE(parse_csv("1,x\n3,y\n").has_header);
  EXPECT_TRUE(parse_csv("0,1,kind\n5,6,2\n").has_header) << "pandas numbers unnamed columns";
  EXPECT_FALSE(parse_csv("NA,1\n2,3\n").has_header) << "a missing value is not a name";
  EXPECT_THAT(refusal_of_csv("p,q\n"), HasSubstr("no data rows, only a header"));
  EXPECT_FALSE(parse_csv("p,1\n").has_header);
  EXPECT_FALSE(parse_csv("p,q\nx,y\n").has_header) << "no number below";
  EXPECT_TRUE(parse_csv("p,q\nx,y\n", {.header = CsvOptions::Header::kPresent}).has_header);
  const CsvTable table = parse_csv("1,2\n3,4\n", {.header = CsvOptions::Header::kPresent});
  EXPECT_THAT(table.names, ElementsAre("1", "2"));
  EXPECT_EQ(table.rows, 1);
  EXPECT_EQ(parse_csv("a\n1\n", {.header = CsvOptions::Header::kAbsent}).rows, 2);
}

TEST(Csv, DetectsTheDelimiter) {
  EXPECT_EQ(parse_csv("a;b\n1;2\n").columns.size(), 2U);
  EXPECT_EQ(parse_csv("a\tb\tc\n1\t2\t3\n").columns.size(), 3U);
  EXPECT_EQ(parse_csv("\"a;x\",b\n\"1;2\",2\n").columns.size(), 2U) << "not inside quotes";
  EXPECT_EQ(parse_csv("1,5;2,5\n3,5;4,5\n").columns.size(), 2U) << "decimal commas become text";
  EXPECT_EQ(parse_csv("7\n8\n").columns.size(), 1U);
  EXPECT_EQ(parse_csv("1|2\n3|4\n", {.delimiter = '|'}).columns.size(), 2U);
}

TEST(Csv, QuotesLineEndsAndByteOrderMark) {
  const CsvTable table = parse_csv(
      "\xEF\xBB\xBF\"name, first\",n\r\n\"a \"\"b\"\"\",1\r\n\r\n\"two\nlines\" ,\"2\"\r\n  "
      "\"\xC3\xA9\",3");
  EXPECT_THAT(table.names, ElementsAre("name, first", "n"));
  EXPECT_THAT(table.columns[0].texts, ElementsAre("a \"b\"", "two\nlines", "\xC3\xA9"));
  EXPECT_THAT(table.columns[1].numbers, ElementsAre(1, 2, 3));
  EXPECT_EQ(parse_csv("1,2\r3,4\r").rows, 2) << "CR alone";
}

TEST(Csv, ErrorsNameLineAndColumn) {
  EXPECT_THAT(refusal_of_csv(""), HasSubstr("empty"));
  EXPECT_THAT(refusal_of_csv("\n\r\n"), HasSubstr("empty"));
  EXPECT_THAT(refusal_of_csv("a,b\n", {.header = CsvOptions::Header::kPresent}),
              HasSubstr("no data rows"));
  EXPECT_THAT(refusal_of_csv("a,b\n1,2\n3,\n"),
              HasSubstr("line 3, column 2 ('b'): the cell is empty"));
  EXPECT_THAT(refusal_of_csv("a,b\n\n1,2\n , 3\n"), HasSubstr("line 4, column 1"));
  EXPECT_THAT(refusal_of_csv("a,b\n1,2\n3\n"), HasSubstr("line 3 has 1 cells, expected 2"));
  EXPECT_THAT(refusal_of_csv("1,2\n3,4,5\n"), HasSubstr("line 2 has 3 cells, expected 2"));
  EXPECT_THAT(refusal_of_csv("1,2\n\"3,4\n5,6\n"),
              HasSubstr("line 2, column 1: the quote is never"));
  EXPECT_THAT(refusal_of_csv("1,2\n3,\"4\"5\n"), HasSubstr("line 2, column 2: text behind"));
  EXPECT_THAT(refusal_of_csv("x,2\ny,4\n\xE9,5\n"),
              HasSubstr("line 3, column 1: the text is not UTF-8"));
  EXPECT_THAT(refusal_of_csv(std::string_view("\xFF\xFE\x31\0", 4)), HasSubstr("UTF-16"));
  EXPECT_THAT(error_of([] { read_csv("no-such.csv"); }), HasSubstr("no-such.csv"));
}

TEST(Csv, NumbersIgnoreTheLocale) {
  const std::string before = std::setlocale(LC_ALL, nullptr);
  const bool german = std::setlocale(LC_ALL, "de_DE.UTF-8") != nullptr;
  EXPECT_EQ(parse_csv("1.5,2\n").columns[0].numbers.at(0), 1.5) << "german: " << german;
  std::setlocale(LC_ALL, before.c_str());
  EXPECT_FALSE(parse_csv("1,2\n\"1,5\",3\n").columns[0].is_numeric());
  EXPECT_FALSE(parse_csv("1\n0x10\n").columns[0].is_numeric());
  EXPECT_FALSE(parse_csv("1\n+-2\n").columns[0].is_numeric());
  EXPECT_FALSE(parse_csv("1\n1e999\n").columns[0].is_numeric());
}

TEST(Csv, WritingRoundTripsExactly) {
  CsvTable table{.names = {"x", "say \"hi\", twice", "t"}};
  table.rows = 6;
  table.columns.resize(3);
  table.columns[0].numbers = {
      0.1,      -0.0, 1e300, std::numeric_limits<double>::denorm_min(), std::nextafter(1.0, 2.0),
      123456789};
  table.columns[1].numbers = {1, 2, 3, 4, 5, 6};
  table.columns[2].texts = {"plain", "a,b", "\"", " spaced ", "line\nbreak", "\xC3\xA9"};
  std::ostringstream stream;
  write_csv(table, stream);
  EXPECT_THAT(stream.str(), ::testing::StartsWith("x,\"say \"\"hi\"\", twice\",t\n0.1,1,plain\n"));
  const CsvTable copy = parse_csv(stream.str());
  EXPECT_EQ(copy.names, table.names);
  ASSERT_EQ(copy.rows, 6);
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(std::signbit(copy.columns[0].numbers[i]), std::signbit(table.columns[0].numbers[i]));
    EXPECT_EQ(copy.columns[0].numbers[i], table.columns[0].numbers[i]);
  }
  EXPECT_EQ(copy.columns[2].texts[1], "a,b");
  EXPECT_EQ(copy.columns[2].texts[4], "line\nbreak");

  const testing::TemporaryDirectory directory;
  write_csv(table, directory / "a.csv");
  EXPECT_EQ(testing::read_text(directory / "a.csv"), stream.str());
  testing::write_gzip(directory / "a.csv.gz", stream.str());
  EXPECT_EQ(read_csv(directory / "a.csv.gz").columns[0].numbers, table.columns[0].numbers);
  table.columns[1].numbers.pop_back();
  EXPECT_THROW(write_csv(table, stream), ArgumentError);
}

TEST(Csv, FindsColumns) {
  const CsvTable table = parse_csv("a,1,b,b\n1,2,3,4\n");
  EXPECT_EQ(find_column(table, ""), 3);
  EXPECT_EQ(find_column(table, "a"), 0);
  EXPECT_EQ(find_column(table, "1"), 1) << "a name before an index";
  EXPECT_EQ(find_column(table, "2"), 2);
  const auto message = [&](std::string_view name) {
    return error_of<ArgumentError>([&] { find_column(table, name); });
  };
  EXPECT_THAT(message("c"), HasSubstr("no column 'c'; there is 'a', '1', 'b', 'b'"));
  EXPECT_THAT(message("4"), HasSubstr("no column '4'"));
  EXPECT_THAT(message("-1"), HasSubstr("no column '-1'"));
  EXPECT_THAT(message("b"), HasSubstr("more than one column"));
}

TEST(Csv, ADatasetRefusesTwoColumnsOfOneName) {
  const CsvTable table = parse_csv("a,b,c,b,y\n1,2,3,4,0.5\n2,2,3,4,1.5\n");
  EXPECT_EQ(error_of([&] { to_dataset(table); }), "csv: columns 2 and 4 are both called 'b'");
  const std::vector<std::string> names{"a", "c"};
  EXPECT_EQ(to_dataset(table, {.feature_names = names}).features(), 2)
      << "the others do not matter";
}

TEST(Csv, InfersTheTask) {
  const auto task = [](std::vector<double> numbers) {
    return infer_task({.numbers = std::move(numbers)});
  };
  EXPECT_EQ(infer_task({.texts = {"x"}}), Task::kClassification);
  EXPECT_EQ(task({0, 1, 1, 0}), Task::kClassification);
  EXPECT_EQ(task({3, 5}), Task::kClassification);
  EXPECT_EQ(task({0, 1, 2, 2, 1, 0}), Task::kClassification);
  EXPECT_EQ(task({0, 1, 2, 3, 4}), Task::kRegression) << "no value comes twice";
  EXPECT_EQ(task({0, 1, 0.5, 0, 1, 0.5}), Task::kRegression);
  EXPECT_EQ(task({-1, 1, 1, -1}), Task::kRegression);
  std::vector<double> many;
  for (int i = 0; i < 1010; ++i) many.push_back(i % 101);
  EXPECT_EQ(task(many), Task::kRegression);
  for (double& value : many) value = std::fmod(value, 100);
  EXPECT_EQ(task(many), Task::kClassification);
}

TEST(CsvDataset, TextTargetsBecomeSortedClasses) {
  const CsvTable table = parse_csv("a,kind,b\n1,dog,2\n3,cat,4\n5,dog,6\n");
  const Dataset data = to_dataset(table, {.target = "kind"});
  EXPECT_THAT(data.class_names, ElementsAre("cat", "dog"));
  EXPECT_THAT(data.labels, ElementsAre(1, 0, 1));
  EXPECT_THAT(data.feature_names, ElementsAre("a", "b"));
  EXPECT_EQ(data.target_name, "kind");
  EXPECT_EQ(data.x.dtype(), DType::kFloat64);
  EXPECT_EQ(element(data.x, 2, 1), 6);
  EXPECT_EQ(data.y.shape().rank(), 0);
}

TEST(CsvDataset, NumericClassesSortByValue) {
  const Dataset data = to_dataset(parse_csv("9,10\n9,2\n9,10\n9,2\n9,33\n9,33\n"));
  EXPECT_THAT(data.class_names, ElementsAre("2", "10", "33"));
  EXPECT_THAT(data.labels, ElementsAre(1, 0, 1, 0, 2, 2));
}

TEST(CsvDataset, TheCallerDecidesTheTask) {
  const CsvTable table = parse_csv("x,n\n1,0\n2,1\n3,1\n");
  const Dataset real = to_dataset(table, {.task = Task::kRegression});
  EXPECT_TRUE(real.labels.empty());
  EXPECT_EQ(real.y.shape(), (Shape{3, 1}));
  EXPECT_EQ(element(real.y, 1, 0), 1);
  EXPECT_EQ(real.classes(), 0);
  const CsvTable halves = parse_csv("x,n\n1,0.5\n2,-1\n3,-1\n");
  EXPECT_THAT(to_dataset(halves, {.task = Task::kClassification}).class_names,
              ElementsAre("-1", "0.5"));
}

TEST(CsvDataset, KnownClassesKeepTheirNumbers) {
  const CsvTable table = parse_csv("x,n\n1,2\n2,1\n");
  const Dataset data = to_dataset(table, {.class_names = {"0", "1", "2"}});
  EXPECT_THAT(data.labels, ElementsAre(2, 1));
  EXPECT_EQ(data.classes(), 3);
  EXPECT_THAT(error_of([&] {
                to_dataset(table, {.class_names = {"0", "1"}});
              }),
              HasSubstr("data row 1, column 2 ('n'): '2' is none of the classes '0', '1'"));
  EXPECT_THROW(to_dataset(table, {.class_names = {"1", "1", "2"}}), ArgumentError);
}

TEST(CsvDataset, WeightAndOffsetColumns) {
  const CsvTable table = parse_csv("x,w,o,y\n1,2,0.5,3.5\n2,0,0.25,4.5\n");
  const Dataset data = to_dataset(table, {.weight = "w", .offset = "o"});
  EXPECT_THAT(data.feature_names, ElementsAre("x"));
  EXPECT_EQ(element(data.weights, 0, 0), 2);
  EXPECT_EQ(element(data.offset, 1, 0), 0.25);
  const CsvTable negative = parse_csv("x,w,y\n1,-2,3.5\n");
  EXPECT_THAT(error_of<ArgumentError>([&] { to_dataset(negative, {.weight = "w"}); }),
              HasSubstr("weight -2 in row 0"));
}

TEST(CsvDataset, ColumnsThatMustBeNumericSaySo) {
  const CsvTable table = parse_csv("a,b,y\n1,2,0\n3,red,1\n", {});
  EXPECT_THAT(error_of([&] { to_dataset(table); }),
              HasSubstr("line 3, column 2 ('b'): 'red' is not a finite number, but the column is "
                        "a feature"));
  const CsvTable missing = parse_csv("a,y\n1,2\n3,nan\n");
  EXPECT_THAT(error_of([&] { to_dataset(missing); }), HasSubstr("line 3, column 2 ('y'): 'nan'"));
  const CsvTable text = parse_csv("a,y\n1,u\n3,v\n");
  EXPECT_THAT(error_of([&] { to_dataset(text, {.task = Task::kRegression}); }),
              HasSubstr("'u' is not a finite number, but the column is a real target"));
  EXPECT_THAT(error_of([] { to_dataset(parse_csv("1\n2\n")); }), HasSubstr("no feature column"));
}

TEST(CsvDataset, PredictionMatchesColumnsByName) {
  const std::vector<std::string> names{"a", "b"};
  const Tensor x = feature_matrix(parse_csv("y,b,extra,a\nq,2,z,1\nq,4,z,3\n"), names, 2);
  EXPECT_EQ(x.shape(), (Shape{2, 2}));
  EXPECT_EQ(element(x, 0, 0), 1);
  EXPECT_EQ(element(x, 1, 1), 4);
  EXPECT_THAT(error_of([&] { feature_matrix(parse_csv("a,c\n1,2\n"), names, 2); }),
              HasSubstr("missing the column 'b'"));
  EXPECT_EQ(element(feature_matrix(parse_csv("7,8\n9,10\n"), names, 2), 1, 1), 10)
      << "no header: by position";
  EXPECT_THAT(error_of([&] { feature_matrix(parse_csv("7,8,9\n"), names, 2); }),
              HasSubstr("3 columns and no header"));
}

TEST(CsvDataset, PredictionMatchesColumnsByPosition) {
  const std::vector<std::string> names{"column_1", "column_2"};  // trained with target column_0
  EXPECT_EQ(element(feature_matrix(parse_csv("7,8,9\n"), names, 2), 0, 0), 8);
  EXPECT_EQ(element(feature_matrix(parse_csv("8,9\n"), names, 2), 0, 0), 8);
  EXPECT_EQ(element(feature_matrix(parse_csv("t,a,b\n7,8,9\n"), names, 2), 0, 1), 9);
  EXPECT_THAT(error_of([&] { feature_matrix(parse_csv("t,a,b,c\n7,8,9,1\n"), names, 2); }),
              HasSubstr("4 columns with names, expected 2 or a table without a header"));
  EXPECT_EQ(element(feature_matrix(parse_csv("7,8\n"), {}, 2), 0, 1), 8);
  EXPECT_EQ(feature_matrix(parse_csv("7,8,9\n"), {}, 2).columns(), 2);
  EXPECT_THROW(feature_matrix(parse_csv("7,8,9,10\n"), {}, 2), FormatError);
  EXPECT_THROW(feature_matrix(parse_csv("7\n"), names, 2), FormatError);
}

TEST(Csv, DamagedFilesGiveFormatErrorOrATable) {
  const std::string valid = "a,b,\"kind, of\"\n1,2.5,\"x \"\"y\"\"\"\r\n3,-4e5,z\n6,7,x\n";
  const auto count = testing::mutate(valid, 10'000, [](const std::string& text) {
    const CsvTable table = parse_csv(text);
    EXPECT_EQ(table.names.size(), table.columns.size());
    for (const CsvColumn& column : table.columns) {
      const std::size_t cells = column.is_numeric() ? column.numbers.size() : column.texts.size();
      EXPECT_EQ(static_cast<Index>(cells), table.rows);
    }
  });
  EXPECT_GT(count.refused, 1'000);
  EXPECT_GT(count.accepted, 1'000);
}

}  // namespace
}  // namespace chainrule
