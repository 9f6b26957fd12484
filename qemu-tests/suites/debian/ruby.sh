# Threads, children, pipes and garbage.
ruby -e '
sums = 4.times.map { |n| Thread.new { (1..20_000).map { |x| x.to_s * 2 }.size + n } }.map(&:value)
raise "threads: #{sums}" unless sums == [20_000, 20_001, 20_002, 20_003]
GC.start
child = fork { sleep 0.1; exit 3 }
Process.wait child
raise "child: #{$?}" unless $?.exitstatus == 3
raise "command" unless `echo from a shell` == "from a shell\n"
reader, writer = IO.pipe
fork { reader.close; writer.write("x" * 200_000); exit! }
writer.close
raise "pipe" unless reader.read.size == 200_000
puts "all is well"'
