# A program compiled by GHC, whose runtime reserves a terabyte of addresses.
printf '#!/bin/sh\nx=$1\necho $x\nfor i in `ls *.txt`; do cat $i | grep foo; done\nif [ $x == 1 ]; then cd foo; fi\n' > s.sh
shellcheck -f gcc s.sh; echo $?; shellcheck -f json s.sh | md5sum
for i in $(seq 3); do shellcheck -f gcc s.sh | md5sum & p="$p $!"; done; wait $p
