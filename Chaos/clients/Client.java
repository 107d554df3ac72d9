// Java's HttpClient: 100 requests at a time, half of them POST. The system property
// javax.net.ssl.trustStore has the authority.
// Arguments: origin, authority file, path, body file, rounds. Prints the number of right answers.
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
    URI target = URI.create(arguments[0] + arguments[2]);
    int count = 0;
    for (int round = 0; round < Integer.parseInt(arguments[4]); round++) {
      List<CompletableFuture<HttpResponse<byte[]>>> answers = new ArrayList<>();
      for (int number = 0; number < 100; number++) {
        HttpRequest.Builder request = HttpRequest.newBuilder(target);
        if (number % 2 == 1) request.POST(HttpRequest.BodyPublishers.ofByteArray(body));
        answers.add(client.sendAsync(request.build(), HttpResponse.BodyHandlers.ofByteArray()));
        // So that there is a connection for the others to share.
        if (number == 0) answers.get(0).exceptionally((error) -> null).join();
      }
      for (CompletableFuture<HttpResponse<byte[]>> answer : answers) {
        try {
          HttpResponse<byte[]> response = answer.join();
          boolean isRight = response.statusCode() == 200 && response.body().length == body.length;
          if (isRight && response.version() == HttpClient.Version.HTTP_2) count++;
        } catch (Exception error) {
          System.err.println(error);
        }
      }
    }
    System.out.println(count);
  }
}
