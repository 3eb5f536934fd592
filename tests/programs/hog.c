/* hog: a program whose memory, children and end the tests decide.
 *
 *   hog WORD...   does the words in order, then exits 0:
 *     alloc N     touch N MiB of anonymous memory and keep it
 *     grow N MS   touch N MiB, one each MS milliseconds
 *     shm N       touch N MiB of shared memory
 *     file PATH N write N MiB to a file, which fills the page cache
 *     burn MS     use the CPU for MS milliseconds
 *     hold MS     sleep
 *     exit N      exit with N
 *     raise SIG   send a signal to itself
 *     ignore SIG  ignore it
 *     pid         print the pid
 *     say TEXT    print a line
 *     forks N     make N children that sleep, print how many it got, end them
 *     straggler   leave a child in a session of its own that sleeps for ever, print its pid
 *     child       go on in a child; the parent waits and goes on behind the word `end`
 *     end         a child exits 0 here
 *     bomb        fork for ever
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB (1UL << 20)

static void ms_sleep(long ms) {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&t, &t)) {}
}

static void touch(size_t size, int flags) {
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);
    if (p == MAP_FAILED) { perror("mmap"); exit(9); }
    for (size_t i = 0; i < size; i += 4096) p[i] = 1;
}

static void fill(const char *path, size_t mib) {
    static char block[MIB];
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    while (mib--)
        if (write(fd, block, MIB) != (ssize_t)MIB) { perror(path); exit(9); }
    close(fd);
}

static void burn(long ms) {
    clock_t end = clock() + ms * (CLOCKS_PER_SEC / 1000);
    while (clock() < end) {}
}

static void forks(int n) {
    pid_t pids[1024];
    int got = 0;
    for (int i = 0; i < n && i < 1024; i++) {
        pid_t pid = fork();
        if (pid == 0) { pause(); _exit(0); }
        if (pid > 0) pids[got++] = pid;
    }
    printf("%d\n", got);
    for (int i = 0; i < got; i++) { kill(pids[i], SIGKILL); waitpid(pids[i], NULL, 0); }
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < argc; i++) {
        char *word = argv[i];
#define IS(name) (!strcmp(word, name))
#define NEXT argv[++i]
        if (IS("alloc")) touch(atol(NEXT) * MIB, MAP_PRIVATE);
        else if (IS("grow")) { long n = atol(NEXT), ms = atol(NEXT); while (n--) { touch(MIB, MAP_PRIVATE); ms_sleep(ms); } }
        else if (IS("shm")) touch(atol(NEXT) * MIB, MAP_SHARED);
        else if (IS("file")) { char *path = NEXT; fill(path, atol(NEXT)); }
        else if (IS("burn")) burn(atol(NEXT));
        else if (IS("hold")) ms_sleep(atol(NEXT));
        else if (IS("exit")) exit(atoi(NEXT));
        else if (IS("raise")) raise(atoi(NEXT));
        else if (IS("ignore")) signal(atoi(NEXT), SIG_IGN);
        else if (IS("pid")) printf("%d\n", getpid());
        else if (IS("say")) puts(NEXT);
        else if (IS("forks")) forks(atoi(NEXT));
        else if (IS("straggler")) {
            pid_t pid = fork();
            if (pid == 0) { setsid(); for (;;) pause(); }
            printf("%d\n", pid);
        }
        else if (IS("child")) {
            pid_t pid = fork();
            if (pid > 0) {
                waitpid(pid, NULL, 0);
                while (i < argc && strcmp(argv[i], "end")) i++;
            }
        }
        else if (IS("end")) _exit(0);
        else if (IS("bomb")) for (;;) fork();
        else { fprintf(stderr, "hog: no word %s\n", word); return 9; }
    }
    return 0;
}
