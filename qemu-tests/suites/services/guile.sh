# Scheme: threads, children, sockets, timers, code that is compiled as it runs.
export GUILE_AUTO_COMPILE=0
cat > a.scm <<'END'
(use-modules (ice-9 threads) (ice-9 popen) (ice-9 rdelim) (srfi srfi-1))
(display (apply + (par-map (lambda (n) (let loop ((i 0) (s 0)) (if (= i 20000) s (loop (+ i 1) (+ s (modulo (* i n) 7)))))) (iota 8)))) (newline)
(define m (make-mutex)) (define c 0)
(define ts (map (lambda (i) (call-with-new-thread (lambda () (do ((j 0 (+ j 1))) ((= j 200)) (with-mutex m (set! c (+ c 1))))))) (iota 4)))
(for-each join-thread ts) (display c) (newline)
(let* ((p (open-input-pipe "seq 5")) (l (read-string p))) (close-pipe p) (write l) (newline))
(let ((s (socket PF_INET SOCK_STREAM 0))) (bind s AF_INET INADDR_LOOPBACK 0) (listen s 3)
  (let ((port (sockaddr:port (getsockname s))) (pid (primitive-fork)))
   (if (= pid 0) (let* ((c (car (accept s)))) (display (string-upcase (read-line c)) c) (newline c) (force-output c) (close c) (primitive-_exit 5)))
   (let ((c (socket PF_INET SOCK_STREAM 0))) (connect c AF_INET INADDR_LOOPBACK port) (display "hello\n" c) (force-output c) (display (read-line c)) (newline) (display (status:exit-val (cdr (waitpid pid)))) (newline))))
(define (fib n) (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2))))) (display (fib 20)) (newline)
(define rung #f) (sigaction SIGALRM (lambda (s) (set! rung #t))) (setitimer ITIMER_REAL 0 0 0 100000) (let loop () (unless rung (usleep 10000) (loop))) (display "alarm\n")
(display (string-length (number->string (expt 7 3000)))) (newline)
(gc) (display (length (map (lambda (x) (make-vector 100 x)) (iota 3000)))) (newline)
END
timeout 100 guile-3.0 a.scm 2> /dev/null; echo $?
