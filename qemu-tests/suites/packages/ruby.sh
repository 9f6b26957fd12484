# Threads, servers, terminals, children, descriptors in messages, ractors and fibres.
cat > all.rb <<'END OF RUBY'
require 'socket'; require 'json'; require 'digest'; require 'tempfile'; require 'fileutils'; require 'open3'; require 'timeout'; require 'pty'; require 'io/console'; require 'set'; require 'zlib'; require 'etc'; require 'monitor'
$stdout.sync=true
s=TCPServer.new('127.0.0.1',0); port=s.addr[1]
th=Thread.new{ 8.times{ c=s.accept; Thread.new{ while l=c.gets; c.puts l.upcase; end; c.close } } }
puts 8.times.map{|i| Thread.new{ c=TCPSocket.new('127.0.0.1',port); r=50.times.map{|j| c.puts "a#{i}-#{j}"; c.gets }; c.close; r.size } }.map(&:value).sum
th.join
out,err,st=Open3.capture3('sh','-c','cat; echo e >&2; exit 4',stdin_data:'x'*100000); p out.size,err,st.exitstatus
begin; Timeout.timeout(0.5){ sleep }; rescue Timeout::Error; puts 'timeout'; end
q=Queue.new; c=Thread.new{ n=0; while q.pop; n+=1; end; n }; 4.times.map{ Thread.new{ 500.times{ q<<1 } } }.each(&:join); q<<nil; p c.value
PTY.spawn('sh','-c','stty size; tty >/dev/null && echo tty; read x; echo got $x'){|r,w,pid| r.winsize rescue 0; w.puts 'hello'; o=''; begin; loop{ o<<r.readpartial(1000) }; rescue Errno::EIO, EOFError; end; Process.wait pid; puts o.lines.map(&:chomp).reject{|l| l=~/^\d+ \d+$/}.sort }
trap('USR1'){ puts 'usr1' }; Process.kill 'USR1',$$; sleep 0.1
r,w=IO.pipe; pids=5.times.map{|i| fork{ r.close; w.puts i; exit! i } }; w.close; puts r.read.split.sort.join; p pids.map{|x| Process.wait2(x)[1].exitstatus }
p Process.clock_gettime(Process::CLOCK_MONOTONIC)>0, Process.getrlimit(:NOFILE).size, Etc.getpwuid(0).name
f=Tempfile.new('x'); f.write 'abc'*1000; f.flush; p File.size(f.path), f.flock(File::LOCK_EX|File::LOCK_NB); f.close!
begin; File.open('/nonexistent/x'); rescue => e; p e.class; end
begin; TCPSocket.new('127.0.0.1',1); rescue => e; p e.class; end
a,b=UNIXSocket.pair; a.send_io($stdout); io=b.recv_io; io.puts 'passed'; a.close
u=UDPSocket.new; u.bind('127.0.0.1',0); v=UDPSocket.new; v.send('dg',0,'127.0.0.1',u.addr[1]); p u.recvfrom(10)[0]
r=Ractor.new{ (1..10000).sum }; p r.take rescue p $!
GC.compact rescue p $!.class
fb=Fiber.new{ 3.times{|i| Fiber.yield i }; :done }; p 4.times.map{ fb.resume }
p Zlib::Inflate.inflate(Zlib::Deflate.deflate('z'*100000)).size, Digest::SHA256.hexdigest('a')
p IO.select([$stdin],nil,nil,0) rescue p $!
p `uname`.chomp, $?.success?, Dir.glob('/etc/pass*'), File.mkfifo('ff'), File.ftype('ff')
p IO.copy_stream('/etc/passwd','cp')==File.size('/etc/passwd'), File.read('cp')==File.read('/etc/passwd')
p Process.spawn('exit 3').then{|x| Process.wait x; $?.exitstatus }
at_exit{ puts 'bye' }
END OF RUBY
ruby -W0 all.rb
