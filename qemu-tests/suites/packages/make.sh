# Side by side builds; gcc, g++ and tcc: libraries, profiles, sanitizers, link time optimization.
# Leaks are not looked for: that takes ptrace(2).
mkdir p; cd p; cat > Makefile <<'END'
OBJ := $(patsubst %.c,%.o,$(wildcard *.c))
CC := $(or $(MYCC),gcc)
prog: $(OBJ)
	@$(CC) -o $@ $^ && echo linked
%.o: %.c h.h
	@$(CC) -O1 -c -o $@ $< && echo $< > /dev/null
-include none.mk
.PHONY: clean
clean: ; @rm -f *.o prog; echo cleaned
fail: ; @exit 3
sub: ; @$(MAKE) --no-print-directory clean && $(MAKE) --no-print-directory -j2 prog
END
echo 'int f(int); ' > h.h; for i in 1 2 3 4 5 6; do echo "#include \"h.h\"
int f$i(int x){return x*$i;}" > f$i.c; done; (for i in 1 2 3 4 5 6; do echo "int f$i(int);"; done; cat <<'END'
#include <stdio.h>
int main(){printf("%d\n",f1(1)+f2(2)+f3(3)+f4(4)+f5(5)+f6(6));return 0;}
END
) > main.c
make -j3 && ./prog; make; touch -d '2030-01-01' f3.c; make 2>&1 | grep -v 'skew\|future'; touch f3.c; make fail 2>&1 | tail -n 1; make -s sub && ./prog; MYCC=tcc make -B -j2 && ./prog
cat > x.cc <<'END'
#include <thread>
#include <iostream>
#include <vector>
#include <stdexcept>
int main(){std::vector<std::thread> t; int s[4]; for(int i=0;i<4;i++)t.emplace_back([&,i]{s[i]=i*i;}); for(auto&x:t)x.join(); try{throw std::runtime_error("thrown");}catch(std::exception&e){std::cout<<e.what()<<s[0]+s[1]+s[2]+s[3]<<"\n";}}
END
g++ -O1 -o x x.cc && ./x; gcc -flto=2 -O2 -o lto main.c f?.c && ./lto; gcc -c f?.c; ar rcs l.a f?.o; gcc -w -o viaar main.c l.a && ./viaar; gcc -shared -fPIC -o lf.so f?.c; gcc -o dyn main.c ./lf.so && ./dyn
gcc -pg -O0 -o pg main.c f?.c && ./pg && test -s gmon.out && echo gmon; gcc --coverage -o cov main.c f?.c && ./cov && ls *.gcda | wc -l; gcc -fsanitize=address -g -o asan main.c f?.c 2>/dev/null && ASAN_OPTIONS=detect_leaks=0 ./asan; gcc -fsanitize=undefined -o ub main.c f?.c && ./ub
