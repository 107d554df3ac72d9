// Reads requests with llhttp, the parser of Node: one case a line in hexadecimal, one line out for
// each (Reading.swift tells the form). Nothing here judges; it says what a Node server would see.

const readline = require('readline');
const { HTTPParser } = process.binding('http_parser');

const methods = process.binding('http_parser').methods;
const hex = (text) => Buffer.from(text, 'latin1').toString('hex');
// The white space around a value is no part of it (RFC 9110 5.5).
const trim = (value) => value.replace(/^[ \t]+|[ \t]+$/g, '');

function read(bytes) {
  const messages = [];
  let head, early, body;
  const parser = new HTTPParser();
  parser.initialize(HTTPParser.REQUEST, {}, 1 << 20, HTTPParser.kLenientNone);
  parser[HTTPParser.kOnMessageBegin] = () => { early = []; body = []; head = undefined; };
  // Long heads come in parts; behind the head these are trailers.
  parser[HTTPParser.kOnHeaders] = (fields, url) => {
    if (head === undefined) early.push({ fields, url });
  };
  parser[HTTPParser.kOnHeadersComplete] = (major, minor, fields, method, url) => {
    const all = early.flatMap((part) => part.fields).concat(fields || []);
    const target = early.map((part) => part.url).join('') + (url || '');
    const pairs = [];
    for (let index = 0; index < all.length; index += 2) {
      const name = all[index].toLowerCase();
      const value = trim(all[index + 1]);
      // Codings have no case (RFC 9112 7), and h11 says them in lower case.
      pairs.push(`${hex(name)}=${hex(name === 'transfer-encoding' ? value.toLowerCase() : value)}`);
    }
    head = `${hex(methods[method])}/${hex(target)}/${pairs.join('&')}`;
    return 0;
  };
  parser[HTTPParser.kOnBody] = (piece, offset, length) => {
    body.push(length === undefined ? piece : piece.subarray(offset, offset + length));
  };
  parser[HTTPParser.kOnMessageComplete] = () => {
    messages.push(`${head}/${Buffer.concat(body).toString('hex')}`);
  };
  const result = parser.execute(bytes);
  messages.push(result instanceof Error ? `!${result.code}` : '.');
  return messages.join(' ');
}

// In order, and all at once at the end: a write for each line would take most of the time.
const lines = [];
readline.createInterface({ input: process.stdin, crlfDelay: Infinity })
  .on('line', (line) => lines.push(read(Buffer.from(line, 'hex'))))
  .on('close', () => process.stdout.write(lines.map((line) => line + '\n').join('')));
