// Node's http2 client: 100 requests at a time on one connection, half of them POST.
// Arguments: origin, authority file, path, body file, rounds. Prints the number of right answers.
const http2 = require("http2"), fs = require("fs");
const [origin, authority, path, file, rounds] = process.argv.slice(2);
const body = fs.readFileSync(file);
let session = null;
// After a GOAWAY a session closes when its requests have ended.
const connect = () => {
  if (session && !session.closed && !session.destroyed) return;
  session = http2.connect(origin, { ca: fs.readFileSync(authority) });
  session.on("error", (error) => console.error(error));
};
const ask = (number) => new Promise((resolve) => {
  const isPost = number % 2 == 1;
  connect();
  const stream = session.request({ ":path": path, ":method": isPost ? "POST" : "GET" });
  let length = 0, status = 0;
  stream.on("response", (fields) => { status = fields[":status"]; });
  stream.on("data", (piece) => { length += piece.length; });
  stream.on("end", () => resolve(status == 200 && length == body.length));
  stream.on("error", (error) => {
    // Node refuses what it has not sent when a GOAWAY arrives. That may be sent again.
    if (stream.rstCode == http2.constants.NGHTTP2_REFUSED_STREAM) return resolve(ask(number));
    console.error(error);
    resolve(false);
  });
  stream.end(isPost ? body : undefined);
});
const run = async () => {
  let count = 0;
  for (let round = 0; round < Number(rounds); round++) {
    const answers = await Promise.all(Array.from({ length: 100 }, (_, number) => ask(number)));
    count += answers.filter((right) => right).length;
  }
  session.close();
  console.log(count);
};
run();
