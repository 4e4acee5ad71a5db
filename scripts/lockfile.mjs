/**
 * Completes package-lock.json after `npm install`.
 *
 * Native tools come as one optional package a platform. Where the registry in use does not carry some of them (a
 * mirror for one platform, say), npm leaves them out of the lock file, and `npm ci` then refuses it, or installs no
 * binary on the platforms left out. Their versions stand in the package that asks for them and their platform in their
 * name, so they can be filled in without a registry. Run by `npm run lockfile`; changes nothing where nothing is missing.
 */
import { readFileSync, writeFileSync } from "node:fs"

const path = new URL("../package-lock.json", import.meta.url)
const lock = JSON.parse(readFileSync(path, "utf8"))
const platform =
  /(android|darwin|freebsd|linux|openbsd|openharmony|win32)-(arm64|arm|x64|ia32|loong64|ppc64|riscv64|s390x)(?:-(\w+))?$/
const added = []

for (const [parent, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const match = platform.exec(name)
    const known = [`${parent}/node_modules/${name}`, `node_modules/${name}`].some((at) => at in lock.packages)
    if (match === null || known || !/^\d/.test(version)) continue
    const [, os, cpu, abi = ""] = match
    const libc = abi.startsWith("musl") ? "musl" : abi.startsWith("gnu") || abi === "glibc" ? "glibc" : undefined
    lock.packages[`node_modules/${name}`] = {
      version,
      cpu: [cpu],
      ...(entry.dev ? { dev: true } : {}),
      ...(os === "linux" && libc ? { libc: [libc] } : {}),
      optional: true,
      os: [os]
    }
    added.push(name)
  }
}

if (added.length > 0) {
  const [root, ...rest] = Object.entries(lock.packages)
  lock.packages = Object.fromEntries([root, ...rest.sort(([a], [b]) => (a < b ? -1 : 1))])
  writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`)
}
console.log(`package-lock.json: ${added.length} platform packages added`)
