# A program that is compiled first: threads, what the collector leaves, a child.
set -e
cat > Trial.java << 'END'
import java.util.*;
import java.util.stream.*;

public class Trial {
    public static void main(String[] arguments) throws Exception {
        Map<Integer, String> names = new HashMap<>();
        Thread thread = new Thread(() -> { for (int n = 0; n < 100000; n++) names.put(n, "name " + n); });
        thread.start();
        thread.join();
        long sum = 0;
        for (int n = 0; n < 20000000; n++) sum += n % 7;
        System.gc();
        long far = IntStream.range(0, 1000).parallel().filter(n -> names.get(n).endsWith("7")).count();
        Process child = new ProcessBuilder("/bin/busybox", "echo", "from a child").start();
        String said = new String(child.getInputStream().readAllBytes()).trim();
        System.out.println(names.size() + " " + sum + " " + far + " " + said + " " + child.waitFor());
    }
}
END
java=/usr/lib/jvm/java-17-openjdk-amd64/bin
$java/javac Trial.java
for options in "-Xshare:auto" "-Xshare:off -XX:+UseParallelGC -XX:-UsePerfData"; do
    # shellcheck disable=SC2086
    said=$($java/java $options -Xmx200m Trial)
    test "$said" = "100000 59999997 100 from a child 0"
done
echo all is well
