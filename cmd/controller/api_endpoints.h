// The HTTP API as one table: what the controller answers, what the command asks it, and what the OpenAPI document says. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/http.h"
#include "core/json.h"
#include "core/rights.h"
#include "core/result.h"
#include "core/uri.h"

namespace tg::controller {

inline constexpr std::string_view kApiBase = "/api/v1";

// ApiField is a member of a body, an answer or a query.
struct ApiField {
  const char* name;
  // "text", "texts", "flag", "number", "time" (Unix seconds), "length" (of time: 8h, or seconds),
  // "moment" (2026-12-31T18:00Z, or Unix seconds), "ports", "claims", "object", "objects", "changes", or words: "a|b".
  // A '?' behind it: it may be null.
  const char* type;
  const char* what;
  bool required = false;
};

// ApiKind is a kind of entries, each an object of its own.
struct ApiKind {
  const char* kind;                  // as AdminApi calls it: "identity-provider"
  const char* path;                  // "identity-providers"; its area too
  const char* key;                   // the member of an entry that stands in its path
  const char* owner;                 // the member that says whose it is; "": nobody's
  Role writer;                       // who may change it
  std::vector<ApiField> shown;
  std::vector<ApiField> create;      // empty: it is not made in this way
  std::vector<ApiField> update;      // likewise
  bool removable;
  std::vector<const char*> order = {};   // the members that they are sorted by in lists; empty: the key
};
const std::vector<ApiKind>& api_kinds();

// ApiEndpoint is a method of a path, and the question of AdminApi that it is.
struct ApiEndpoint {
  enum class Body : std::uint8_t {
    none,
    members,                         // each is a member of the question
    fields,                          // all of it is the question's "fields", but for the key of an entry that is made
    state,                           // all of it is the question's "state"
  };
  std::string method;
  std::string path;                  // behind kApiBase: "/users/{name}"; {name} is a member of the question
  std::string operation;             // its name in the document
  std::string summary;
  Json question;                     // what is always in it: {"type":"show","kind":"user"}
  std::string_view area{};           // "": for everybody who is known
  Deed deed = Deed::read;
  Role least = Role::auditor;        // who may ask it of everything
  const ApiKind* kind = nullptr;
  bool own = false;                  // others may ask it of what is their own
  Body body = Body::none;
  std::vector<ApiField> takes{};     // of the body
  std::vector<ApiField> query{};
  std::vector<ApiField> gives{};
};
const std::vector<ApiEndpoint>& api_endpoints();

// ApiMatch is what a path leads to.
struct ApiMatch {
  const ApiEndpoint* endpoint = nullptr;                       // null: no such method there
  std::vector<std::pair<std::string, std::string>> parts{};    // {"name", "alice@example.com"}
  std::vector<std::string> methods{};                          // that there are; empty: no such path
};
ApiMatch find_endpoint(std::string_view method, std::string_view path);

// question_of makes AdminApi's question of a request. Errors: malformed, and the text names the member.
Result<Json> question_of(const ApiMatch& match, const QueryItems& query, const Json& body);

// request_of makes a request of AdminApi's question, and is the opposite. Its url is the path and query, behind kApiBase. Errors: unsupported for a question
// that no endpoint is.
Result<HttpRequest> request_of(const Json& question);

}  // namespace tg::controller
