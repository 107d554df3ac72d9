// Node's http2 client: 100 requests at a time on one connection, half of them POST.
// Arguments: origin, authority file, path, body file. Prints the number of right answers.
const http2 = require("http2"), fs = require("fs");
const [origin, authority, path, file] = process.argv.slice(2);
const body = fs.readFileSync(file);
const session = http2.connect(origin, { ca: fs.readFileSync(authority) });
session.on("error", (error) => { console.error(error); process.exit(1); });
const ask = (number) => new Promise((resolve, reject) => {
  const isPost = number % 2 == 1;
  const stream = session.request({ ":path": path, ":method": isPost ? "POST" : "GET" });
  let length = 0, status = 0;
  stream.on("response", (fields) => { status = fields[":status"]; });
  stream.on("data", (piece) => { length += piece.length; });
  stream.on("end", () => resolve(status == 200 && length == body.length));
  stream.on("error", reject);
  stream.end(isPost ? body : undefined);
});
Promise.all(Array.from({ length: 100 }, (_, number) => ask(number))).then((answers) => {
  console.log(answers.filter((right) => right).length);
  session.close();
});
