import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.LongAdder;
import java.util.stream.*;
import java.util.zip.*;

/** Threads that come and go, direct buffers, compression and garbage. */
public class Work {
    static long churn(int seed) {
        Random random = new Random(seed);
        Map<String, List<byte[]>> map = new HashMap<>();
        for (int i = 0; i < 60_000; i++) {
            String key = Integer.toHexString(random.nextInt(2000));
            List<byte[]> list = map.computeIfAbsent(key, k -> new ArrayList<>());
            list.add(new byte[random.nextInt(300)]);
            if (list.size() > 10) list.remove(0);
        }
        return map.values().stream().flatMap(List::stream).mapToLong(b -> b.length).sum();
    }

    /** Memory outside the Java heap: malloc's. */
    static long direct(int seed) throws Exception {
        Random random = new Random(seed);
        List<ByteBuffer> buffers = new ArrayList<>();
        for (int i = 0; i < 200; i++) {
            ByteBuffer buffer = ByteBuffer.allocateDirect(1 + random.nextInt(50_000));
            while (buffer.hasRemaining()) buffer.put((byte) seed);
            buffers.add(buffer.flip());
            if (buffers.size() > 20) buffers.remove(random.nextInt(20));
        }
        CRC32 crc = new CRC32();
        for (ByteBuffer buffer : buffers) crc.update(buffer);
        byte[] data = new byte[200_000];
        random.nextBytes(data);
        for (int i = 0; i < data.length; i++) data[i] &= 0x1f;
        ByteArrayOutputStream packed = new ByteArrayOutputStream();
        try (GZIPOutputStream out = new GZIPOutputStream(packed)) { out.write(data); }
        Inflater inflater = new Inflater(true);
        inflater.setInput(packed.toByteArray(), 10, packed.size() - 10);
        byte[] again = new byte[data.length];
        int n = inflater.inflate(again);
        inflater.end();
        if (n != data.length || !Arrays.equals(data, again)) throw new AssertionError("unpacked differs");
        return crc.getValue() + Arrays.hashCode(again);
    }

    public static void main(String[] args) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(8);
        List<Future<Long>> futures = new ArrayList<>();
        for (int i = 0; i < 24; i++) {
            int seed = i;
            futures.add(pool.submit(() -> seed % 2 == 0 ? churn(seed) : direct(seed)));
        }
        for (Future<Long> future : futures) System.out.println(future.get());
        pool.shutdown();

        LongAdder adder = new LongAdder();
        for (int round = 0; round < 20; round++) {
            List<Thread> threads = new ArrayList<>();
            for (int i = 0; i < 50; i++) {
                int n = i;
                Thread thread = new Thread(() -> adder.add(("x".repeat(n * 10)).hashCode() % 1000));
                thread.start();
                threads.add(thread);
            }
            for (Thread thread : threads) thread.join();
        }
        System.out.println(adder.sum());
        System.out.println(IntStream.range(0, 300_000).parallel().mapToObj(Integer::toString)
            .collect(Collectors.groupingByConcurrent(String::length, Collectors.counting())));
        System.out.println("done");
    }
}
