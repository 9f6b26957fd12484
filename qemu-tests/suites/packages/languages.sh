# Tcl, Lisp, Erlang, Lua, PHP, Prolog and Python: threads, servers, children, shared memory.
export LC_ALL=C HOME=$PWD
echo 'puts [expr 6*7]; set s [socket -server {apply {{c a p} {puts $c hi; close $c}}} -myaddr 127.0.0.1 0]; set p [lindex [fconfigure $s -sockname] 2]; set c [socket 127.0.0.1 $p]; fileevent $c readable {gets $c l; puts $l; close $c; set done 1}; vwait done; puts [exec echo child | cat]; after 50 {set z 1}; vwait z; catch {exec sh -c {exit 3}} e o; puts [lindex [dict get $o -errorcode] 0]' > a.tcl; tclsh a.tcl 2>&1 | sed 's/CHILDSTATUS [0-9]*/CHILDSTATUS/'
sbcl --noinform --eval '(progn (format t "~a~%" (reduce (function +) (loop for i below 100000 collect i))) (gc :full t) (format t "~a~%" (handler-case (error "x") (error () "caught"))) (let ((th (loop for i below 4 collect (let ((i i)) (sb-thread:make-thread (lambda () (* i i))))))) (format t "~a~%" (mapcar (function sb-thread:join-thread) th))) (format t "~a" (with-output-to-string (s) (sb-ext:run-program "/bin/sh" (list "-c" "echo child") :output s))) (sb-ext:exit))' 2>&1
erl -noshell -eval 'P=self(), [spawn(fun()->P!{N,lists:sum(lists:seq(1,N*1000))} end)||N<-lists:seq(1,20)], io:format("~p~n",[lists:sort([receive {N,S}->S end||N<-lists:seq(1,20)])]), {ok,L}=gen_tcp:listen(0,[binary,{active,false},{ip,{127,0,0,1}}]), {ok,Po}=inet:port(L), spawn(fun()->{ok,S}=gen_tcp:accept(L), {ok,D}=gen_tcp:recv(S,0), gen_tcp:send(S,D), gen_tcp:close(S) end), {ok,C}=gen_tcp:connect({127,0,0,1},Po,[binary,{active,false}]), gen_tcp:send(C,<<"echo">>), io:format("~p~n",[gen_tcp:recv(C,0)]), io:format("~s",[os:cmd("echo child")]), file:write_file("ef",<<"abc">>), io:format("~p~n",[file:read_file("ef")]), halt().' 2>&1
luajit -e 'local s=0 for i=1,1e7 do s=s+i%7 end print(s) local ffi=require"ffi" ffi.cdef"int getpid(void);" print(ffi.C.getpid()>0)' 2>&1
php8.2 -r '$p=[];for($i=0;$i<3;$i++){$x=proc_open("cat",[["pipe","r"],["pipe","w"]],$q);fwrite($q[0],"p$i");fclose($q[0]);echo stream_get_contents($q[1]);proc_close($x);} echo PHP_EOL; $s=stream_socket_server("tcp://127.0.0.1:0"); $c=stream_socket_client("tcp://".stream_socket_get_name($s,false)); $a=stream_socket_accept($s); fwrite($a,"tcp\n"); echo fgets($c); echo json_encode(array_map(fn($x)=>$x**2,range(1,5))),PHP_EOL; if(function_exists("pcntl_fork")){$f=pcntl_fork(); if(!$f) exit(4); pcntl_wait($st); echo pcntl_wexitstatus($st),PHP_EOL;}' 2>&1
(php8.2 -S 127.0.0.1:7010 -t . > phps.log 2>&1 & echo $! > php.pid); echo '<?php echo "web ".(6*7)."\n";' > i.php; sleep 2; curl -s http://127.0.0.1:7010/i.php; kill $(cat php.pid)
echo '(display (+ 1 2))' > a.scm;  swipl -g 'X is 6*7, writeln(X), halt' 2>&1; lua5.4 -e 'print(#io.popen("seq 1000"):read("a"))'; python3 -c '
import asyncio,concurrent.futures,multiprocessing as mp,os
async def h(r,w):
    w.write((await r.readline()).upper()); await w.drain(); w.close()
async def m():
    s=await asyncio.start_server(h,"127.0.0.1",0); p=s.sockets[0].getsockname()[1]
    async def c(i):
        r,w=await asyncio.open_connection("127.0.0.1",p); w.write(b"x%d\n"%i); d=await r.readline(); w.close(); return d
    print(await asyncio.gather(*[c(i) for i in range(10)])); q=await asyncio.create_subprocess_shell("echo sub; exit 2",stdout=-1); print(await q.communicate(),q.returncode)
asyncio.run(m())
def f(x): return x*x
if __name__=="__main__":
    with concurrent.futures.ProcessPoolExecutor(2) as e: print(list(e.map(f,range(8))))
    q=mp.Queue(); p=mp.Process(target=q.put,args=(os.getpid()>0,)); p.start(); print(q.get()); p.join()
    v=mp.Value("i",0)
    def g():
        for _ in range(100):
            with v.get_lock(): v.value+=1
    ps=[mp.Process(target=g) for _ in range(3)]; [p.start() for p in ps]; [p.join() for p in ps]; print(v.value)
    from multiprocessing import shared_memory as sm
    s=sm.SharedMemory(create=True,size=100); s.buf[0]=7; t=sm.SharedMemory(s.name); print(t.buf[0]); t.close(); s.close(); s.unlink()
    with mp.Manager() as M:
        d=M.dict(); d["a"]=1; print(dict(d))
    with mp.get_context("spawn").Pool(2) as P: print(P.map(abs,[-1,2]))
' 2>&1
