import { assert, describe, it } from "@effect/vitest"
import { SqsError } from "../src/index.js"
import { fromThrown } from "../src/internal/client/errors.js"

const thrown = (name: string, message: string, rest: object = {}) =>
  fromThrown("ReceiveMessage")(Object.assign(new Error(message), { name }, rest))

describe("errors that never reach AWS", () => {
  it.each([
    ["CredentialsProviderError", "Could not load credentials from any providers", /set AWS_ACCESS_KEY_ID/],
    ["TokenProviderError", "Token is expired.", /sign in again/]
  ])("%s is fatal and says what to set", (name, message, hint) => {
    const error = thrown(name, message)
    assert.strictEqual(error._tag, "InvalidCredentials")
    assert.match(error.message, hint)
    assert.strictEqual(SqsError.kind(error), "fatal")
  })

  it("a name that @effect-aws/client-sqs replaced by SdkError is found where it left it", () => {
    const replaced = (rest: object) =>
      fromThrown("ReceiveMessage")({ name: "SdkError", _tag: "SdkError", message: "", ...rest })
    assert.strictEqual(replaced({ __type: "com.amazonaws.sqs#ThrottlingException" })._tag, "RequestThrottled")
    assert.strictEqual(replaced({ stack: "CredentialsProviderError: none\n  at x" })._tag, "InvalidCredentials")
  })

  it("a client without a region is fatal: no retry will find one", () => {
    const error = thrown("Error", "Region is missing")
    assert.strictEqual(SqsError.kind(error), "fatal")
    assert.match(error.message, /AWS_REGION/)
  })

  it.each([
    ["ECONNREFUSED", /check the endpoint/],
    ["ECONNRESET", /closed before the answer/],
    ["UND_ERR_SOCKET", /closed before the answer/],
    ["ENOTFOUND", /check the region, the endpoint/],
    ["EAI_AGAIN", /check the network/],
    ["DEPTH_ZERO_SELF_SIGNED_CERT", /certificate was refused/],
    ["ERR_TLS_CERT_ALTNAME_INVALID", /certificate was refused/]
  ])("%s is a transient TransportError that names the code and what to check", (code, hint) => {
    const error = thrown("Error", "it failed", { code })
    assert.strictEqual(error._tag, "TransportError")
    assert.include(error.message, code)
    assert.match(error.message, hint)
    assert.strictEqual(SqsError.kind(error), "transient")
  })

  it("a refused connection to localhost, which Node wraps without a message, names the address", () => {
    const refused = (address: string) =>
      Object.assign(new Error(`connect ECONNREFUSED ${address}:9324`), { code: "ECONNREFUSED", address, port: 9324 })
    const error = fromThrown("ReceiveMessage")(
      Object.assign(new AggregateError([refused("::1"), refused("127.0.0.1")]), { code: "ECONNREFUSED" })
    )
    assert.strictEqual(
      error.message,
      "ReceiveMessage: ECONNREFUSED (::1:9324). Nothing listens there: is the emulator running, and on that port?"
    )
  })

  it("what is thrown that is no error at all still says its operation", () => {
    for (const cause of [undefined, null, "boom", 7]) {
      const error = fromThrown("SendMessage")(cause)
      assert.strictEqual(error._tag, "TransportError")
      assert.match(error.message, /^SendMessage: /)
    }
  })

  it("a 429 without a name that we know asks for fewer calls", () => {
    const error = thrown("Unknown", "slow", { $metadata: { httpStatusCode: 429 } })
    assert.strictEqual(SqsError.kind(error), "throttled")
  })
})
