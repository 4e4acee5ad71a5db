/** A certificate for `localhost` that nobody has signed, in files, for the scope: what TLS costs needs no authority. */
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"

export interface Certificate {
  readonly certFile: string
  readonly keyFile: string
}

export const selfSigned = Effect.map(
  Effect.acquireRelease(
    Effect.promise(async () => {
      // Only who makes one needs it, and a server is told of one.
      const { generate } = await import("selfsigned")
      const folder = await mkdtemp(join(tmpdir(), "millrace-bench-"))
      const { cert, private: key } = await generate([{ name: "commonName", value: "localhost" }], {
        keyType: "ec",
        extensions: [{ name: "subjectAltName", altNames: [{ type: 2, value: "localhost" }] }]
      })
      const files = { certFile: join(folder, "cert.pem"), keyFile: join(folder, "key.pem") }
      await Promise.all([writeFile(files.certFile, cert), writeFile(files.keyFile, key)])
      return { folder, files }
    }),
    ({ folder }) => Effect.promise(() => rm(folder, { recursive: true }))
  ),
  ({ files }): Certificate => files
)

/** How a process is told of it as it starts: its clients trust it, and a server of its own shows it. */
export const environment = ({ certFile, keyFile }: Certificate) => ({
  NODE_EXTRA_CA_CERTS: certFile,
  MILLRACE_BENCH_KEY: keyFile
})

/** The one that this process was told of. */
export const ofThisProcess = (): Certificate | undefined => {
  const certFile = process.env["NODE_EXTRA_CA_CERTS"]
  const keyFile = process.env["MILLRACE_BENCH_KEY"]
  return certFile === undefined || keyFile === undefined ? undefined : { certFile, keyFile }
}
