package example;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import org.junit.jupiter.api.extension.AfterEachCallback;
import org.junit.jupiter.api.extension.BeforeEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * A broker for each test, as a JUnit 5 extension: {@code @RegisterExtension Partlogd broker = new Partlogd();}. It runs partlogd, found by
 * the environment variable PARTLOGD or on the PATH. Nothing but the JDK and JUnit is needed.
 */
public final class Partlogd implements BeforeEachCallback, AfterEachCallback {
    private final List<String> args;
    private final Properties facts = new Properties();
    private Process process;
    private Path dir;

    public Partlogd(String... args) {
        this.args = List.of(args);
    }

    @Override
    public void beforeEach(ExtensionContext context) throws IOException {
        dir = Files.createTempDirectory("partlogd");
        Path ready = dir.resolve("ready.properties");
        List<String> command = new ArrayList<>(List.of(
            System.getenv().getOrDefault("PARTLOGD", "partlogd"), "--quiet",
            "--override", "listeners=PLAINTEXT://127.0.0.1:0",
            "--override", "group.initial.rebalance.delay.ms=0",
            "--control", "127.0.0.1:0", "--ready-file", ready.toString()));
        command.addAll(args);
        process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        BufferedReader out = new BufferedReader(new InputStreamReader(process.getInputStream()));
        if (!"partlogd ready".equals(out.readLine())) {
            throw new IOException("partlogd did not start");
        }
        try (var in = Files.newBufferedReader(ready)) {
            facts.clear();
            facts.load(in);
        }
    }

    @Override
    public void afterEach(ExtensionContext context) throws Exception {
        process.destroy(); // SIGTERM
        int status = process.waitFor();
        Files.delete(dir);
        if (status != 0) {
            throw new IOException("partlogd ended with status " + status);
        }
    }

    /** For bootstrap.servers. */
    public String bootstrapServers() {
        return facts.getProperty("bootstrap.servers");
    }

    /** Sends a request to the control endpoint and returns the JSON of the answer; body may be null. */
    public String control(String method, String path, String body) {
        HttpRequest request = HttpRequest.newBuilder(URI.create(facts.getProperty("control") + path))
            .header("Content-Type", "application/json")
            .method(method, body == null ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofString(body))
            .build();
        try {
            HttpResponse<String> answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
            if (answer.statusCode() != 200) {
                throw new IllegalStateException(answer.body());
            }
            return answer.body();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(e);
        }
    }

    /** Has requests fail: fail("{\"api\":\"Produce\",\"times\":1,\"error\":\"NOT_ENOUGH_REPLICAS\"}"). Returns the rule. */
    public String fail(String rule) {
        return control("POST", "/v1/rules", rule);
    }
}
