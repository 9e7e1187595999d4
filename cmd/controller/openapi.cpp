#include "cmd/controller/openapi.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "cmd/controller/api_endpoints.h"
#include "cmd/controller/html.h"
#include "cmd/controller/web_request.h"

namespace tg::controller {
namespace {

using Body = ApiEndpoint::Body;

Json reference(const std::string& where) { return {{"$ref", "#/components/" + where}}; }

Json texts() { return {{"type", "array"}, {"items", {{"type", "string"}}}}; }

// schema_of is the JSON Schema of a field's type.
Json schema_of(std::string_view type, const ApiKind* kind) {
  const bool nullable = type.ends_with('?');
  if (nullable) type.remove_suffix(1);
  Json out;
  if (type == "text") out = {{"type", "string"}};
  else if (type == "texts") out = texts();
  else if (type == "flag") out = {{"type", "boolean"}};
  else if (type == "number") out = {{"type", "integer"}, {"minimum", 0}};
  else if (type == "time") out = {{"type", "integer"}, {"minimum", 0}, {"description", "Unix seconds"}};
  else if (type == "length") out = {{"type", Json::array({"string", "integer"})}, {"minimum", 0}};
  else if (type == "moment") out = {{"type", Json::array({"string", "integer"})}, {"minimum", 0}};
  else if (type == "object") out = {{"type", "object"}};
  else if (type == "objects") out = {{"type", "array"}, {"items", {{"type", "object"}}}};
  else if (type == "ports") out = reference("schemas/Ports");
  else if (type == "claims") out = {{"type", "object"}, {"additionalProperties", texts()}};
  else if (type == "changes") out = {{"type", "array"}, {"items", reference("schemas/Change")}};
  else if (type == "item") out = reference(std::string("schemas/") + kind->kind);
  else if (type == "items") out = {{"type", "array"}, {"items", reference(std::string("schemas/") + kind->kind)}};
  else {
    out = {{"type", "string"}, {"enum", Json::array()}};
    for (std::size_t at = 0; at <= type.size();) {
      const std::size_t bar = std::min(type.find('|', at), type.size());
      out["enum"].push_back(type.substr(at, bar - at));
      at = bar + 1;
    }
  }
  if (nullable) out["type"] = Json::array({out["type"], "null"});
  return out;
}

Json property(const ApiField& f, const ApiKind* kind) {
  Json out = schema_of(f.type, kind);
  const std::string unit = text_or(out, "description", "");
  if (*f.what != '\0' && !out.contains("$ref")) out["description"] = unit.empty() ? f.what : fmt::format("{} ({})", f.what, unit);
  return out;
}

// object_of lists what may be there; nothing else is.
Json object_of(const std::vector<ApiField>& fields, const ApiKind* kind) {
  Json out = {{"type", "object"}, {"properties", Json::object()}, {"additionalProperties", false}};
  for (const ApiField& f : fields) {
    out["properties"][f.name] = property(f, kind);
    if (f.required) out["required"].push_back(f.name);
  }
  return out;
}

Json in_json(const Json& schema) { return {{"application/json", {{"schema", schema}}}}; }

Json answer_of(const ApiEndpoint& e) {
  const bool root = e.gives.size() == 1 && *e.gives[0].name == '\0';
  return root ? schema_of(e.gives[0].type, e.kind) : object_of(e.gives, e.kind);
}

bool has_etag(const ApiEndpoint& e) { return (e.kind != nullptr && e.path.ends_with("/{name}")) || e.path == "/state"; }

Json parameters_of(const ApiEndpoint& e) {
  Json out = Json::array();
  for (std::size_t at = e.path.find('{'); at != std::string::npos; at = e.path.find('{', at + 1)) {
    const std::string name = e.path.substr(at + 1, e.path.find('}', at) - at - 1);
    out.push_back({{"name", name}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}}}});
  }
  for (const ApiField& f : e.query) {
    Json one = {{"name", f.name}, {"in", "query"}, {"schema", schema_of(f.type, nullptr)}};
    if (*f.what != '\0') one["description"] = f.what;
    if (std::string_view(f.type) == "texts") one.update({{"style", "form"}, {"explode", false}});
    out.push_back(std::move(one));
  }
  if (e.deed == Deed::write && has_etag(e)) out.push_back(reference("parameters/IfMatch"));
  if (e.method == "POST") out.push_back(reference("parameters/IdempotencyKey"));
  return out;
}

int success(const ApiEndpoint& e) { return e.method == "POST" && !e.path.ends_with("/approve") && !e.path.ends_with("/deny") ? 201 : 200; }

std::string needs(const ApiEndpoint& e) {
  if (e.area.empty()) return "For everybody with an API token.";
  std::string out = fmt::format("Role {}, scope `{}:{}`.", to_string(e.least), e.area, e.deed == Deed::write ? "write" : "read");
  if (e.own) out += " Whoever has a lesser role: of what is his own alone.";
  return out;
}

Json operation(const ApiEndpoint& e) {
  Json good = {{"description", "Done"}, {"content", in_json(answer_of(e))}};
  if (has_etag(e) && e.method == "GET") good["headers"]["ETag"] = {{"schema", {{"type", "string"}}}, {"description", "For If-Match"}};
  const Json tags = Json::array({std::string(e.area.empty() ? "me" : e.area)});
  Json out = {{"operationId", e.operation}, {"summary", e.summary}, {"description", needs(e)}, {"tags", tags},
              {"responses", {{std::to_string(success(e)), good}, {"default", reference("responses/Problem")}}}};
  if (auto parameters = parameters_of(e); !parameters.empty()) out["parameters"] = std::move(parameters);
  if (e.body != Body::none) {
    const Json schema = e.body == Body::state ? Json{{"type", "object"}} : object_of(e.takes, e.kind);
    out["requestBody"] = {{"required", true}, {"content", in_json(schema)}};
  }
  return out;
}

Json make() {
  Json schemas = {
      {"Problem",
       {{"type", "object"},
        {"description", "RFC 9457"},
        {"properties",
         {{"type", {{"type", "string"}}}, {"title", {{"type", "string"}}}, {"status", {{"type", "integer"}}}, {"detail", {{"type", "string"}}},
          {"code", {{"type", "string"}, {"description", "What kind of thing went wrong, for programs"}}}}},
        {"required", {"type", "title", "status", "detail", "code"}}}},
      {"Ports",
       {{"description", "\"all\", \"none\", or a list such as [\"22\", \"8000-8100\"]"},
        {"oneOf", Json::array({Json{{"type", "string"}, {"enum", Json::array({"all", "none"})}}, texts()})}}},
      {"Change",
       object_of({{"verb", "create|update|remove", "", true}, {"kind", "text", "", true}, {"name", "text", "", true},
                  {"detail", "text", "What is different, in words", true}}, nullptr)}};
  for (const ApiKind& k : api_kinds()) schemas[k.kind] = object_of(k.shown, &k);
  Json paths = Json::object();
  for (const ApiEndpoint& e : api_endpoints()) {
    std::string method = e.method;
    std::transform(method.begin(), method.end(), method.begin(), [](char c) { return static_cast<char>(c - 'A' + 'a'); });
    paths[std::string(kApiBase) + e.path][method] = operation(e);
  }
  const Json problem = {{"description", "What is wrong, and what to do"}, {"content", {{"application/problem+json", {{"schema", reference("schemas/Problem")}}}}}};
  const auto header = [](const char* name, const char* what) {
    return Json{{"name", name}, {"in", "header"}, {"schema", {{"type", "string"}}}, {"description", what}};
  };
  return {{"openapi", "3.1.0"},
          {"info",
           {{"title", "tg controller"},
            {"version", TG_VERSION},
            {"description",
             "Who may reach what, and what became of it. Names in paths are percent-encoded. Times are Unix seconds, lengths of time texts such as 90d, 12h or 30s. "
             "A list is told in pages: ask again with \"cursor\" as long as \"next\" is not null. An ETag is that of what an administrator says of an entry: "
             "presence and counts do not change it."}}},
          {"paths", paths},
          {"components",
           {{"schemas", schemas},
            {"responses", {{"Problem", problem}}},
            {"parameters",
             {{"IfMatch", header("If-Match", "Only if it is still as that ETag says; otherwise 412")},
              {"IdempotencyKey", header("Idempotency-Key", "The same request with the same key is carried out once, and answered twice. Kept for a day")}}},
            {"securitySchemes",
             {{"token", {{"type", "http"}, {"scheme", "bearer"}, {"description", "tg controller api-token create"}}},
              {"session", {{"type", "apiKey"}, {"in", "cookie"}, {"name", kSessionCookie},
                           {"description", "Of a browser in which somebody has signed in, at /sign-in"}}}}}}},
          {"security", Json::array({Json{{"token", Json::array()}}, Json{{"session", Json::array()}}})}};
}

std::string fields_as_html(const char* title, const std::vector<ApiField>& fields) {
  if (fields.empty()) return {};
  std::string out = fmt::format("<h4>{}</h4><table>", title);
  for (const ApiField& f : fields) {
    if (*f.name == '\0') continue;
    out += fmt::format("<tr><td><code>{}</code>{}<td>{}<td>{}", f.name, f.required ? " *" : "", html_escaped(f.type),
                       html_escaped(f.what));
  }
  return out + "</table>";
}

std::string make_page() {
  std::string out;
  out += fmt::format("<h1>tg {}: HTTP API</h1><p>{}<p>The same for programs: <a href='{}/openapi.json'>openapi.json</a>.", TG_VERSION,
                     html_escaped(openapi()["info"]["description"].get<std::string>()), kApiBase);
  out += fmt::format("<pre><code>curl -H \"Authorization: Bearer $TG_API_TOKEN\" https://HOST:PORT{}/me</code></pre>", kApiBase);
  std::string_view area = "-";
  for (const ApiEndpoint& e : api_endpoints()) {
    const std::string_view own = e.area.empty() ? "me" : e.area;
    if (own != area) out += fmt::format("<h2>{}</h2>", own);
    area = own;
    out += fmt::format("<details><summary><code><b>{}</b> {}{}</code> {}</summary><p>{}", e.method, kApiBase, e.path,
                       html_escaped(e.summary), html_escaped(needs(e)));
    out += fields_as_html("Query", e.query) + fields_as_html("Body", e.takes) + fields_as_html("Answer", e.gives);
    if (e.kind != nullptr && e.method == "GET") out += fields_as_html("Entry", e.kind->shown);
    out += "</details>";
  }
  return html_page("tg: HTTP API", out);
}

}  // namespace

const Json& openapi() {
  static const Json document = make();
  return document;
}

const std::string& api_page() {
  static const std::string page = make_page();
  return page;
}

}  // namespace tg::controller
