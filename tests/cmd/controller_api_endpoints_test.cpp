// The table of the HTTP API: both ways through it, and what it says of itself.
#include "cmd/controller/api_endpoints.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "cmd/controller/openapi.h"

namespace tg::controller::controller_api_endpoints_test {

Json sample(const ApiField& f) {
  const std::string_view type = f.type;
  if (type == "flag") return true;
  if (type == "number") return 7u;
  if (type == "texts") return Json::array({"a", "b c"});
  if (type == "ports") return Json::array({"22", "8000-8100"});
  if (type == "claims") return Json{{"company", Json::array({"x"})}};
  return "text of " + std::string(f.name) + "/?&+%é";
}

// Everything that an endpoint can be asked at once.
Json full_question(const ApiEndpoint& e) {
  Json out = e.question;
  for (std::size_t at = e.path.find('{'); at != std::string::npos; at = e.path.find('{', at + 1)) {
    out[e.path.substr(at + 1, e.path.find('}', at) - at - 1)] = "a name/with%all&of?it+é";
  }
  for (const ApiField& f : e.query) out[f.name] = sample(f);
  if (e.body == ApiEndpoint::Body::state) out["state"] = Json{{"networks", Json::array()}};
  if (e.body == ApiEndpoint::Body::fields) out["fields"] = Json::object();
  for (const ApiField& f : e.takes) {
    if (e.body == ApiEndpoint::Body::members) out[f.name] = sample(f);
    else if (e.question["type"] == "create" && std::string_view(f.name) == e.kind->key) out["name"] = sample(f);
    else out["fields"][f.name] = sample(f);
  }
  return out;
}

Result<Json> through(const HttpRequest& request) {
  const std::string url = std::string(kApiBase) + request.url;
  const auto mark = url.find('?');
  const ApiMatch match = find_endpoint(request.method, url.substr(0, mark));
  if (match.endpoint == nullptr) return fail(Errc::not_found, url);
  const auto query = parse_query(mark == url.npos ? "" : url.substr(mark + 1));
  if (!query) return fail(Errc::malformed, "query");
  return question_of(match, *query, request.body.empty() ? Json() : *parse_json(request.body));
}

TEST(ApiEndpoints, every_question_is_the_same_after_its_way_through_http) {
  for (const ApiEndpoint& e : api_endpoints()) {
    const Json question = full_question(e);
    const auto request = request_of(question);
    ASSERT_TRUE(request) << e.operation;
    EXPECT_EQ(request->method, e.method) << e.operation;
    const auto back = through(*request);
    ASSERT_TRUE(back) << e.operation << ": " << back.error().text;
    EXPECT_EQ(*back, question) << e.operation << "\n" << request->url << "\n" << request->body;
  }
}

TEST(ApiEndpoints, are_told_apart_and_have_known_areas) {
  std::set<std::string> operations, places;
  std::set<std::string_view> areas;
  for (const ApiEndpoint& e : api_endpoints()) {
    EXPECT_TRUE(operations.insert(e.operation).second) << e.operation;
    EXPECT_TRUE(places.insert(e.method + " " + e.path).second) << e.path;
    if (e.area.empty()) continue;
    EXPECT_NE(std::find(kAreas.begin(), kAreas.end(), e.area), kAreas.end()) << e.area;
    areas.insert(e.area);
  }
  EXPECT_EQ(areas.size(), kAreas.size()) << "a scope that nothing asks for";
}

TEST(ApiEndpoints, say_what_methods_there_are) {
  const auto methods = [](std::string_view path) { return find_endpoint("BREW", path).methods; };
  EXPECT_EQ(methods("/api/v1/users"), (std::vector<std::string>{"GET", "POST"}));
  EXPECT_EQ(methods("/api/v1/users/x"), (std::vector<std::string>{"GET", "PATCH", "DELETE"}));
  for (const char* nothing : {"/", "/api/v1", "/api/v2/users", "/api/v1/planets", "/api/v1users", "/api/v1/users/", "/api/v1/users/a/b", "/api/v1/users/%4", "/api/v1//users"}) {
    EXPECT_TRUE(methods(nothing).empty()) << nothing;
  }
}

std::string refusal(const char* method, const char* path, const char* query, const Json& body) {
  const ApiMatch match = find_endpoint(method, path);
  EXPECT_NE(match.endpoint, nullptr);
  const auto question = question_of(match, *parse_query(query), body);
  EXPECT_FALSE(question);
  return question ? "" : question.error().text;
}

TEST(ApiEndpoints, name_what_is_wrong_with_a_request) {
  EXPECT_EQ(refusal("PATCH", "/api/v1/resources/NAS", "", {{"adress", "x"}}),
            "adress: there is no such member; there are rename, network, address, alias, groups, tcp, udp, icmp, policy");
  EXPECT_EQ(refusal("POST", "/api/v1/resources", "", {{"name", "NAS"}, {"network", "home"}}), "address: is missing");
  EXPECT_EQ(refusal("POST", "/api/v1/users", "", Json::array()), "the body is not a JSON object");
  EXPECT_EQ(refusal("GET", "/api/v1/users", "limit=x", {}), "limit: is no number");
  EXPECT_EQ(refusal("GET", "/api/v1/users", "limit=-1", {}), "limit: is no number");
  EXPECT_EQ(refusal("GET", "/api/v1/users", "limit=1&limit=2", {}), "limit: is given twice");
  EXPECT_EQ(refusal("GET", "/api/v1/users", "page=1", {}), "page: there is no such parameter here");
  EXPECT_EQ(refusal("PUT", "/api/v1/state", "prune=yes", {}), "prune: is not true or false");
}

TEST(ApiEndpoints, no_question_is_none) {
  EXPECT_EQ(request_of({{"type", "reboot"}}).error().code, Errc::unsupported);
  EXPECT_EQ(request_of({{"type", "list"}, {"kind", "planet"}}).error().code, Errc::unsupported);
  EXPECT_EQ(request_of(Json::object()).error().code, Errc::unsupported);
}

TEST(TheOpenApiDocument, has_every_endpoint_and_no_other) {
  std::set<std::string> documented, there;
  for (const auto& [path, methods] : openapi()["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) documented.insert(path + " " + method + " " + operation["operationId"].get<std::string>());
  }
  for (const ApiEndpoint& e : api_endpoints()) {
    std::string method = e.method;
    for (char& c : method) c = static_cast<char>(std::tolower(c));
    there.insert(std::string(kApiBase) + e.path + " " + method + " " + e.operation);
  }
  EXPECT_EQ(documented, there);
  EXPECT_EQ(api_page().find("<script"), std::string::npos);
}

}  // namespace tg::controller::controller_api_endpoints_test
