// Java's HttpClient: 100 requests at a time, half of them POST. The system property
// javax.net.ssl.trustStore has the authority.
// Arguments: origin, authority file, path, body file. Prints the number of right answers.
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;

public class Client {
  public static void main(String[] arguments) throws Exception {
    byte[] body = Files.readAllBytes(Path.of(arguments[3]));
    HttpClient client = HttpClient.newHttpClient();
    List<CompletableFuture<HttpResponse<byte[]>>> answers = new ArrayList<>();
    for (int number = 0; number < 100; number++) {
      HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(arguments[0] + arguments[2]));
      if (number % 2 == 1) request.POST(HttpRequest.BodyPublishers.ofByteArray(body));
      answers.add(client.sendAsync(request.build(), HttpResponse.BodyHandlers.ofByteArray()));
      // So that there is a connection for the others to share.
      if (number == 0) answers.get(0).join();
    }
    int count = 0;
    for (CompletableFuture<HttpResponse<byte[]>> answer : answers) {
      HttpResponse<byte[]> response = answer.join();
      boolean isRight = response.statusCode() == 200 && response.body().length == body.length;
      if (isRight && response.version() == HttpClient.Version.HTTP_2) count++;
    }
    System.out.println(count);
  }
}
