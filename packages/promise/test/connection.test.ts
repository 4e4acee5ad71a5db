/** A client of our own finds what is not given where AWS's tools find it, whatever else is given. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { connect } from "../src/internal/connection.js"

const built = async (options: Parameters<typeof connect>[0]): Promise<string> => {
  const connection = connect(options)
  return connection.runtime().then(
    async () => {
      await connection.dispose()
      return "built"
    },
    (error: unknown) => String(error)
  )
}

beforeEach(() => {
  for (const name of ["AWS_REGION", "AWS_ENDPOINT_URL_SQS", "AWS_PROFILE"]) vi.stubEnv(name, undefined)
  for (const name of ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"]) vi.stubEnv(name, "/nowhere")
  vi.stubEnv("AWS_DEFAULT_REGION", "eu-west-1")
  // It cannot be one, so that a client that takes it is not built.
  vi.stubEnv("AWS_ENDPOINT_URL", "no URL")
  vi.stubEnv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
})

afterEach(() => {
  vi.unstubAllEnvs()
})

describe.each([
  ["with no options", {}],
  ["with an option", { maxSockets: 3 }]
])("%s", (_, options) => {
  it("the region is AWS_DEFAULT_REGION's, and AWS_IGNORE_CONFIGURED_ENDPOINT_URLS is heeded", async () => {
    expect(await built(options)).toBe("built")
    vi.stubEnv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "false")
    expect(await built(options)).toContain("endpoint")
    expect(await built({ ...options, endpoint: "http://127.0.0.1:9324" })).toBe("built")
  })

  it("an endpoint that is empty is none", async () => {
    vi.stubEnv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", undefined)
    vi.stubEnv("AWS_ENDPOINT_URL", "")
    expect(await built(options)).toBe("built")
    vi.stubEnv("AWS_DEFAULT_REGION", undefined)
    expect(await built(options)).toContain("AWS_REGION")
  })
})
