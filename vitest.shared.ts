import { fileURLToPath } from "node:url"

const src = (pkg: string) => fileURLToPath(new URL(`./packages/${pkg}/src/`, import.meta.url))

/** Tests read the sources, so that they never depend on a build. */
export const alias = ["core", "sqs", "http", "dashboard", "sql", "redis", "dynamodb", "promise"].flatMap((pkg) => [
  { find: new RegExp(`^@millrace/${pkg}$`), replacement: `${src(pkg)}index.ts` },
  {
    find: new RegExp(`^@millrace/${pkg}/(testing|emulator|cloudwatch|lambda)$`),
    replacement: `${src(pkg)}$1/index.ts`
  },
  { find: new RegExp(`^@millrace/${pkg}/(.+)$`), replacement: `${src(pkg)}$1.ts` }
])
