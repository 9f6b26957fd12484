# Threads, an alarm and a child.
perl -e '
use strict; use threads;
my @sums = map { $_->join } map { my $n = $_; threads->create(sub { my $s = 0; $s += $_ for 1 .. 50_000; $s + $n }) } 0 .. 2;
die "threads: @sums" unless "@sums" eq "1250025000 1250025001 1250025002";
my $rang = 0;
$SIG{ALRM} = sub { $rang = 1 };
alarm 1;
select undef, undef, undef, 5;
die "no alarm" unless $rang;
die "command" unless `echo from a shell` eq "from a shell\n";
print "all is well\n"'
