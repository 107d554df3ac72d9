// Go's net/http: 100 requests at a time, half of them POST.
// Arguments: origin, authority file, path, body file, rounds. Prints the number of right answers.
package main

import (
  "bytes"
  "crypto/tls"
  "crypto/x509"
  "fmt"
  "io"
  "net/http"
  "os"
  "strconv"
)

func main() {
  authority, _ := os.ReadFile(os.Args[2])
  body, _ := os.ReadFile(os.Args[4])
  pool := x509.NewCertPool()
  pool.AppendCertsFromPEM(authority)
  client := &http.Client{Transport: &http.Transport{
    TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true,
  }}
  answers := make(chan bool)
  rounds, _ := strconv.Atoi(os.Args[5])
  count := 0
  for number := 0; number < 100*rounds; number++ {
    if number >= 100 && <-answers {
      count++
    }
    go func(isPost bool) {
      method, reader := "GET", io.Reader(nil)
      if isPost {
        method, reader = "POST", bytes.NewReader(body)
      }
      request, _ := http.NewRequest(method, os.Args[1]+os.Args[3], reader)
      response, err := client.Do(request)
      if err != nil {
        fmt.Fprintln(os.Stderr, err)
        answers <- false
        return
      }
      received, err := io.ReadAll(response.Body)
      right := err == nil && response.StatusCode == 200 && response.ProtoMajor == 2
      answers <- right && len(received) == len(body)
    }(number%2 == 1)
  }
  for number := 0; number < 100; number++ {
    if <-answers {
      count++
    }
  }
  fmt.Println(count)
}
