/* leaky: tells when it started, waits, takes memory until the kernel kills it.
 *
 *   leaky FIFO [JOIN]
 *
 *   FIFO   where it writes "PID NANOSECONDS\n": CLOCK_MONOTONIC at the first line of main
 *   JOIN   a cgroup's file of processes, to move itself into before that; where nobody else does
 *
 * It takes memory when it gets SIGUSR1.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SIZE (80UL << 20)

static int tell(const char *path, const char *text, int size) {
    int fd = open(path, O_WRONLY);
    int bad = fd < 0 || write(fd, text, size) != size;
    if (bad) perror(path);
    close(fd);
    return bad;
}

int main(int argc, char **argv) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    sigset_t go;
    sigemptyset(&go);
    sigaddset(&go, SIGUSR1);
    sigprocmask(SIG_BLOCK, &go, NULL);
    if (argc < 2 || (argc > 2 && tell(argv[2], "0", 1))) return 9;
    char line[64];
    int size = snprintf(line, sizeof line, "%d %lld\n", getpid(),
                        now.tv_sec * 1000000000LL + now.tv_nsec);
    if (tell(argv[1], line, size)) return 9;
    int number;
    sigwait(&go, &number);
    char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) { perror("mmap"); return 9; }
    for (size_t i = 0; i < SIZE; i += 4096) p[i] = 1;
    return 8; /* it was not killed */
}
