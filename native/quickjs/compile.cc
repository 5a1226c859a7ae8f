// compile SCRIPT OUTPUT: compiles a script to the bytecode that Program runs. It is part of the build. The
// bytecode works on every machine with the same byte order.

#include <quickjs.h>

#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

namespace {

int fail(const std::string& what) {
  std::cerr << "compile: " << what << "\n";
  return 1;
}

}  // namespace

int main(int count, char** words) {
  if (count != 3) return fail("usage: compile SCRIPT OUTPUT");
  std::ifstream file(words[1], std::ios::binary);
  const std::string source((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file) return fail(std::string("cannot read ") + words[1]);

  JSRuntime* runtime = JS_NewRuntime();
  JSContext* context = JS_NewContext(runtime);
  JS_SetStripInfo(runtime, JS_STRIP_SOURCE);
  const JSValue program = JS_Eval(context, source.c_str(), source.size(), "vsock-enclave.js",
                                  JS_EVAL_TYPE_GLOBAL | JS_EVAL_FLAG_STRICT | JS_EVAL_FLAG_COMPILE_ONLY);
  if (JS_IsException(program)) {
    const JSValue error = JS_GetException(context);
    const JSValue stack = JS_GetPropertyStr(context, error, "stack");
    return fail(std::string(JS_ToCString(context, error)) + "\n" + JS_ToCString(context, stack));
  }
  size_t size = 0;
  const uint8_t* bytes = JS_WriteObject(context, &size, program, JS_WRITE_OBJ_BYTECODE);
  if (bytes == nullptr) return fail("the bytecode cannot be written");
  std::ofstream output(words[2], std::ios::binary);
  output.write(reinterpret_cast<const char*>(bytes), static_cast<std::streamsize>(size));
  output.close();
  return output ? 0 : fail(std::string("cannot write ") + words[2]);
}
