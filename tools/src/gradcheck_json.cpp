// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <nlohmann/json.hpp>

#include "chainrule/core/version.hpp"
#include "common.hpp"
#include "gradcheck_report.hpp"

namespace chainrule::tools {
namespace {

using Json = nlohmann::ordered_json;

Json as_json(const ElementCheck& element) {
  Json json{{"verdict", to_string(element.verdict)}};
  if (element.row < 0) {
    json["direction"] = "random";
  } else {
    json["row"] = element.row;
    json["column"] = element.column;
  }
  if (element.output >= 0) json["output"] = element.output;
  json["analytic"] = element.analytic;
  json["numeric"] = element.numeric;
  json["error"] = element.error;
  json["error_bar"] = element.error_bar;
  json["tolerance"] = element.tolerance;
  json["step"] = element.step;
  if (element.reason != Reason::kNone) json["reason"] = to_string(element.reason);
  if (element.verdict == Verdict::kKink || element.reason == Reason::kKink) {
    json["left_slope"] = element.left_slope;
    json["right_slope"] = element.right_slope;
  }
  return json;
}

Json as_json(const ForwardCheck& forward) {
  const ForwardProduct& worst = forward.worst;
  Json product{{"forward", worst.forward},
               {"backward", worst.backward},
               {"error", worst.error},
               {"tolerance", worst.tolerance}};
  if (worst.row >= 0) {
    product["row"] = worst.row;
    product["column"] = worst.column;
    product["output"] = worst.output;
  }
  return {{"products", forward.products},
          {"jacobian", forward.jacobian},
          {"disagree", forward.disagree},
          {"unresolved", forward.unresolved},
          {"worst", product}};
}

Json as_json(const ValueCheck& value) {
  Json json{{"name", value.name},
            {"shape", to_string(value.shape)},
            {"verdict", to_string(value.overall_verdict())},
            {"elements", value.elements},
            {"directions", value.directions},
            {"jacobian", value.jacobian},
            {"float32_only", value.float32_only},
            {"comparisons", value.comparisons()},
            {"agree", value.agree},
            {"unseen", value.unseen},
            {"kinks", value.kinks},
            {"unresolved", value.unresolved},
            {"waived", value.waived},
            {"disagree", value.disagree},
            {"all_zero", value.all_zero}};
  if (value.waived > 0) json["waiver"] = value.name;
  if (value.comparisons() > 0) json["worst"] = as_json(value.worst);
  if (!value.failures.empty()) {
    json["failing"] = Json::array();
    for (const ElementCheck& element : value.failures) json["failing"].push_back(as_json(element));
  }
  if (!value.hint.empty()) json["hint"] = value.hint;
  if (value.forward_mode.comparisons() > 0) json["forward_mode"] = as_json(value.forward_mode);
  return json;
}

Json as_json(const std::vector<ValueCheck>& values) {
  Json json = Json::array();
  for (const ValueCheck& value : values) json.push_back(as_json(value));
  return json;
}

void add_worst(Json& json, const WorstElement& worst) {
  json["worst_error"] = worst.element ? Json(shown_error(*worst.element)) : Json();
  json["error_bar"] = worst.element ? Json(worst.element->error_bar) : Json();
  json["tolerance"] = worst.element ? Json(worst.element->tolerance) : Json();
}

Json second_order_json(const GradcheckRecord& record) {
  Json json{{"verdict", to_string(record.second_order.verdict())},
            {"comparisons", record.second_order.comparisons()}};
  add_worst(json, worst_of(second_order_of({&record, 1})));
  json["gradients"] = as_json(record.second_order.values);
  return json;
}

Json as_json(const GradcheckRecord& record, bool of_model) {
  const GradientReport& report = record.report;
  Json json{{of_model ? "tensor" : "op", record.subject}};
  if (!of_model) {
    json["case"] = record.variant;
    json["size"] = record.size;
  }
  const Compared counts = compared(gradients_of({&record, 1}));
  json["shape"] = record.shape;
  json["dtype"] = to_string(report.dtype);
  json["arch"] = report.architecture;
  json["ok"] = report.ok();
  json["verdict"] = to_string(record.verdict());
  json["elements"] = counts.elements;
  json["directions"] = counts.directions;
  json["jacobian"] = counts.jacobian;
  json["unseen"] = counts.unseen;
  json["kinks"] = counts.kinks;
  json["waived"] = counts.waived;
  if (!record.properties.empty()) json["properties"] = record.properties;
  add_worst(json, worst_of(gradients_of({&record, 1})));
  json["seconds"] = record.seconds;
  json["gradients"] = as_json(report.values);
  if (!report.without_forward_mode.empty()) {
    json["without_forward_mode"] = report.without_forward_mode;
  }
  if (!record.second_order.values.empty()) json["second_order"] = second_order_json(record);
  json["failures"] = report.failures;
  return json;
}

}  // namespace

std::string gradcheck_json(const GradcheckRun& run) {
  Json json{{"version", CHAINRULE_VERSION_STRING}, {"arch", run.architecture}, {"seed", run.seed}};
  if (run.of_model) {
    for (const auto& [name, text] : run.facts) json[name] = text;
  }
  json["checks"] = run.records.size();
  json["failed"] = run.failed();
  json["seconds"] = run.seconds;
  json["reports"] = Json::array();
  for (const GradcheckRecord& record : run.records) {
    json["reports"].push_back(as_json(record, run.of_model));
  }
  return to_text(json);
}

}  // namespace chainrule::tools
