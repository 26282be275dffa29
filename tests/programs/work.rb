# Hashes, strings, big numbers, threads, fibers, a compacted heap and a fork.
words = Array.new(60_000) { |i| "word#{i * 7919 % 10_007}" }
count = words.tally
puts count.size, count.sort_by { |word, n| [-n, word] }.first(5).inspect

text = words.join(' ')
puts text.gsub(/(\d)(\d)/, '\2\1').sum, text.scan(/9+/).size, text.bytes.sum
puts (1..800).inject(:*).to_s.size, (3**5000).digits.sum

Node = Struct.new(:left, :value, :right)
def tree(depth) = depth.zero? ? nil : Node.new(tree(depth - 1), "at #{depth}", tree(depth - 1))
def nodes(node) = node ? 1 + nodes(node.left) + nodes(node.right) : 0
3.times { puts nodes(tree(14)) }

queue = Queue.new
results = Queue.new
workers = Array.new(8) do
  Thread.new do
    while (n = queue.pop) != :end
      results << (1..n).map { |i| (i * n).to_s * 3 }.join.size
    end
  end
end
400.times { |n| queue << n }
8.times { queue << :end }
workers.each(&:join)
puts results.size, Array.new(results.size) { results.pop }.sum

primes = Fiber.new do
  (2..).each { |n| Fiber.yield n if (2..Integer.sqrt(n)).none? { |d| (n % d).zero? } }
end
puts Array.new(500) { primes.resume }.last
fibers = Array.new(500) { |i| Fiber.new { |x| Fiber.yield(x + i) while true } }
puts fibers.sum { |fiber| fiber.resume(1) }

GC.start
GC.compact if GC.respond_to?(:compact)
GC.stress = true
puts Array.new(20) { |i| "stress #{i}" }.join(',')
GC.stress = false

reader, writer = IO.pipe
pid = fork do
  reader.close
  writer.puts Array.new(10_000) { |i| { i => i.to_s } }.reduce(:merge).size
  exit! 5
end
writer.close
puts reader.read
Process.wait(pid)
puts $?.exitstatus
puts Marshal.load(Marshal.dump(count)) == count
puts 'done'
