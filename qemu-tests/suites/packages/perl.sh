# Core modules: processes, locks, DB_File, sockets, System V IPC, signals and timers, pipes, files and their attributes.
cat > all.pl <<'END OF PERL'
use strict; use warnings; use Fcntl qw(:DEFAULT :flock :mode :seek); use POSIX qw(:sys_wait_h :signal_h :errno_h :termios_h :unistd_h :limits_h dup2);
use Socket; use IO::Socket::INET; use IO::Socket::UNIX; use IO::Select; use IO::Handle; use File::Temp; use File::Find; use File::Path; use File::Copy; use File::stat ();
use DB_File; use SDBM_File; use Storable; use Digest::SHA; use Compress::Zlib; use IPC::Open3; use IPC::SysV qw(IPC_PRIVATE IPC_CREAT IPC_RMID IPC_NOWAIT IPC_STAT);
use IPC::Msg; use IPC::Semaphore; use IPC::SharedMem; use Time::HiRes qw(time sleep ualarm setitimer getitimer ITIMER_REAL); use Sys::Hostname; use Cwd; use Tie::File; use Errno;
$|=1;
# fork many
my %k; for my $i (1..12){ my $p=fork; die unless defined $p; if(!$p){ POSIX::_exit($i) } $k{$p}=$i }
my $ok=0; while((my $p=waitpid(-1,0))>0){ $ok++ if ($?>>8)==$k{$p} } print "children $ok $!\n";
# sysopen
sysopen(my $f,"x",O_RDWR|O_CREAT|O_EXCL,0640) or die $!; print sysopen(my $g,"x",O_RDWR|O_CREAT|O_EXCL)?"":"excl: $!\n";
syswrite($f,"0123456789"); sysseek($f,3,SEEK_SET); sysread($f,my $b,4); print "$b\n"; printf "%o %d\n", (stat $f)[2], (stat _)[7]; truncate($f,5); print -s $f,"\n";
flock($f,LOCK_EX|LOCK_NB) or die; if(!fork){ open(my $h,"<","x"); print flock($h,LOCK_EX|LOCK_NB)?"got":"locked: $!","\n"; POSIX::_exit(0)} wait;
my $fl=pack('s s l! l! i',F_WRLCK,0,0,0,0); print fcntl($f,F_SETLK,$fl)?"fcntl\n":"no $!\n";
utime 1000000,2000000,"x"; print join(",",(stat "x")[8,9]),"\n"; link "x","y"; print +(stat "x")[3],"\n"; symlink "x","z"; print readlink("z"),"\n"; rename "y","w"; unlink "w"; 
print -l "z"?1:0, -d "."?1:0, -x "x"?1:0, -t STDIN?1:0, -p STDIN?1:0, "\n";
mkdir "dir"; print mkdir("dir")?"":"mkdir: $!\n"; print rmdir("nodir")?"":"rmdir: $!\n"; print open(my $n,"<","x/y")?"":"open: $!\n"; print open(my $n2,">","dir")?"":"open: $!\n";
# DB_File
tie my %db,'DB_File',"db",O_RDWR|O_CREAT,0600,$DB_BTREE or die $!; $db{$_}=$_*2 for 1..3000; my $s=0; $s+=$_ for values %db; print "$s\n"; untie %db;
tie %db,'DB_File',"dbh",O_RDWR|O_CREAT,0600,$DB_HASH or die $!; $db{$_}="v$_" for 1..2000; print scalar(keys %db),"\n"; untie %db;
tie my @rec,'DB_File',"dbr",O_RDWR|O_CREAT,0600,$DB_RECNO or die $!; push @rec,map{"l$_"}1..500; print $#rec,"\n"; untie @rec;
tie my %sd,'SDBM_File',"sd",O_RDWR|O_CREAT,0600 or die $!; $sd{$_}=$_ for 1..500; print scalar(keys %sd),"\n"; untie %sd;
# sockets
my $srv=IO::Socket::INET->new(Listen=>5,LocalAddr=>'127.0.0.1',Proto=>'tcp',ReuseAddr=>1) or die; my $port=$srv->sockport;
my @p; for my $i(1..4){ my $p=fork; if(!$p){ close $srv; my $c=IO::Socket::INET->new(PeerAddr=>'127.0.0.1',PeerPort=>$port,Proto=>'tcp') or die; print $c "hello $i\n" x 1000; $c->shutdown(1); my $l=<$c>; exit($l eq "bye $i\n"?0:1)} push @p,$p}
my $sel=IO::Select->new($srv); my (%buf,$done); while(($done||0)<4){ for my $h($sel->can_read(5)){ if($h==$srv){ my $c=$srv->accept; $sel->add($c)} else { my $n=sysread($h,my $d,4096); if($n){$buf{$h}.=$d}else{ my($i)=$buf{$h}=~/hello (\d)/; print {$h} "bye $i\n"; die unless length $buf{$h}==8000; delete $buf{$h}; $sel->remove($h); close $h; $done++ } } } }
my $bad=0; for(@p){waitpid $_,0; $bad++ if $?} print "sockets bad=$bad\n";
my $u=IO::Socket::UNIX->new(Local=>"us",Listen=>1,Type=>SOCK_STREAM) or die; if(!fork){ my $c=IO::Socket::UNIX->new(Peer=>"us",Type=>SOCK_STREAM); print $c "x" x 300000; close $c; POSIX::_exit(0)} my $c=$u->accept; my $t=0; while(my $n=sysread($c,my $d,65536)){$t+=$n} print "unix $t\n"; wait;
my $ud=IO::Socket::INET->new(Proto=>'udp',LocalAddr=>'127.0.0.1') or die; my $ue=IO::Socket::INET->new(Proto=>'udp',PeerAddr=>'127.0.0.1',PeerPort=>$ud->sockport); $ue->send("dgram $_") for 1..3; for(1..3){$ud->recv(my $m,100); print "$m;"} print "\n";
socketpair(my $a1,my $a2,AF_UNIX,SOCK_DGRAM,0) or die; send $a1,"abc",0; defined recv $a2,my $m,10,0 or die; print "$m\n";
print join(" ",unpack("i",getsockopt($srv,SOL_SOCKET,SO_TYPE)),unpack("i",getsockopt($srv,SOL_SOCKET,SO_REUSEADDR)),unpack("i",getsockopt($srv,SOL_SOCKET,SO_ERROR))),"\n";
print IO::Socket::INET->new(PeerAddr=>'127.0.0.1',PeerPort=>1)?"":"refused: $!\n";
# IPC SysV
my $q=IPC::Msg->new(IPC_PRIVATE,IPC_CREAT|S_IRWXU) or die $!; $q->snd(3,"three"); $q->snd(1,"one"); $q->rcv(my $mm,100,1); print "$mm ",$q->stat->qnum,"\n"; $q->remove;
my $se=IPC::Semaphore->new(IPC_PRIVATE,3,IPC_CREAT|S_IRWXU) or die; $se->setall(0,1,2); print join(",",$se->getall),"\n"; if(!fork){ sleep 0.2; $se->op(0,1,0); POSIX::_exit(0)} $se->op(0,-1,0); wait; print "sem ",$se->getval(0),"\n"; $se->remove;
my $sm=IPC::SharedMem->new(IPC_PRIVATE,8192,IPC_CREAT|S_IRWXU) or die; $sm->attach; $sm->write("parent",0,6); if(!fork){ $sm->write("child!",0,6); POSIX::_exit(0)} wait; print $sm->read(0,6)," ",$sm->stat->nattch,"\n"; $sm->detach; $sm->remove;
# signals
my @got; $SIG{$_}=sub{push @got,$_[0]} for qw(USR1 USR2 HUP CHLD); kill USR1=>$$; kill HUP=>$$; print "@got\n"; @got=();
my $set=POSIX::SigSet->new(SIGUSR2); sigprocmask(SIG_BLOCK,$set); kill USR2=>$$; print scalar(@got); my $pend=POSIX::SigSet->new; sigpending($pend); print $pend->ismember(SIGUSR2); sigprocmask(SIG_UNBLOCK,$set); print "@got\n"; @got=();
setitimer(ITIMER_REAL,0.1,0.1); my $al=0; $SIG{ALRM}=sub{$al++}; my $t0=time; select undef,undef,undef,0.3 while $al<3; setitimer(ITIMER_REAL,0); print "alarms ok\n" if $al>=3 && time-$t0<30;
eval{local $SIG{ALRM}=sub{die "timeout\n"}; alarm 1; my ($r,$w); pipe $r,$w; sysread $r,my $x,1; }; print $@;
# open3, pipes
my $pid=open3(my $in,my $out,undef,"sh","-c","cat; echo err >&2; exit 3"); print $in "through\n"; close $in; print sort <$out>; waitpid $pid,0; print $?>>8,"\n";
open(my $pp,"-|","seq 100000|tail -n 1") or die; print <$pp>; close $pp; open($pp,"|-","cat") or die; print $pp "to cat\n"; close $pp; system("exit 5"); print $?>>8,"\n"; system("kill -9 \$\$"); print $?&127,"\n"; print system("/nonexistent")," $!\n";
 { local $SIG{PIPE}='IGNORE'; pipe my $r,my $w; close $r; print syswrite($w,"x")?"":"epipe: $!\n"; }
# misc
store {a=>[1..100]},"st"; print scalar @{retrieve("st")->{a}},"\n"; print Digest::SHA->new(256)->addfile("$^X")->hexdigest eq Digest::SHA::sha256_hex(do{local $/; open my $h,"<:raw",$^X; <$h>})?"sha\n":"NO\n";
my $z=gzopen("g.gz","wb"); $z->gzwrite("line $_\n") for 1..2000; $z->gzclose; print length(Compress::Zlib::memGunzip(do{local $/;open my $h,"<:raw","g.gz";<$h>})),"\n";
mkpath("p/q/r"); copy("st","p/q/r/st"); my $cnt=0; find(sub{$cnt++},"p"); print "$cnt\n"; rmtree("p"); print -e "p"?"there":"gone","\n";
tie my @tf,'Tie::File',"tf" or die; push @tf,map{"row $_"}1..300; $tf[100]="changed"; splice @tf,10,5; print scalar(@tf)," $tf[95]\n"; untie @tf;
my ($tfh,$tn)=File::Temp::tempfile(DIR=>"."); print $tfh "t"; close $tfh; print -s $tn,"\n";
opendir my $dh,"."; print join(" ",sort grep{/^[a-z]+$/}readdir $dh),"\n"; closedir $dh;
print getpwuid(0)." ".getgrgid(0)." ".(getpwnam("nobody"))[2],"\n"; print scalar(getprotobyname('tcp')),scalar(getservbyname('http','tcp')),"\n";
my @tm=times; print @tm==4?"times\n":""; print POSIX::sysconf(POSIX::_SC_PAGESIZE())," ",POSIX::pathconf("/",POSIX::_PC_NAME_MAX()),"\n"; print ((POSIX::uname())[0],"\n"); print getpgrp==POSIX::getpgrp()?"pgrp\n":""; print getpriority(0,0),"\n";
chdir "dir"; print cwd=~/dir$/?"cwd\n":""; chdir ".."; chroot "/nonexist" or print "chroot: $!\n"; umask 027; open my $um,">","um"; printf "%o\n",(stat "um")[2]&0777; chmod 0,"um"; chown 1000,1000,"um"; print join(",",(stat "um")[4,5]),"\n";
my $w=''; vec($w,fileno(STDOUT),1)=1; print select(undef,$w,undef,0),"\n"; dup2(1,9); print {IO::Handle->new_from_fd(9,"w")} "nine\n";
if(my $p=fork){waitpid $p,WUNTRACED; print WIFSTOPPED($?)?"stopped ".WSTOPSIG($?):"", "\n"; kill CONT=>$p; waitpid $p,0; print $?>>8,"\n"}else{kill STOP=>$$; POSIX::_exit(7)}
print "end\n";
END OF PERL
perl all.pl
