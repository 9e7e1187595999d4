// Says what is wrong with an OpenAPI document on standard input, by the schema of its version; exit 0 when nothing is.
import { createRequire } from 'node:module';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';

const installed = createRequire(new URL('../../../build/node/', import.meta.url)).resolve('@seriousme/openapi-schema-validator');
const { Validator } = await import(pathToFileURL(installed).href);
const validator = new Validator();
const found = await validator.validate(JSON.parse(await text(process.stdin)));
if (found.valid) console.log(validator.version);
else console.error(JSON.stringify(found.errors, null, 1));
process.exit(found.valid ? 0 : 1);
