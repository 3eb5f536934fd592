/* escape: what a program in a container may try, one way a run.
 *
 *   escape WAY [ARGUMENT]    prints "out" and exits 0 if it worked, else says why and exits 1
 *     chroot       a second chroot below a held directory, and up from there
 *     fd           up from each descriptor that was inherited
 *     root PID     through /proc/PID/root
 *     mount        a tmpfs, a bind, a proc
 *     unshare      a user namespace, and a mount in it
 *     write PATH   write into a file
 *     kill PID     a signal to a process
 *     device       make a device file of the disk and open it
 *     caps         more capabilities after an exec of a setuid file (this one)
 *     tty          push a character into the terminal
 * "Out" is a root that has the file named by CLIMITS_OUTSIDE.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int outside(void) {
    const char *file = getenv("CLIMITS_OUTSIDE");
    return file && access(file, F_OK) == 0;
}

static int up(int fd) {
    if (fchdir(fd)) return 0;
    for (int i = 0; i < 64; i++)
        if (chdir("..")) return 0;
    if (chroot(".")) { /* without the right to: look from here */
        char path[4096] = ".";
        strncat(path, getenv("CLIMITS_OUTSIDE"), sizeof path - 2);
        return access(path, F_OK) == 0;
    }
    return outside();
}

static int try_chroot(void) {
    mkdir("/climits-below", 0755);
    int held = open("/", O_RDONLY | O_DIRECTORY);
    if (chroot("/climits-below")) perror("chroot");
    return up(held);
}

static int try_fds(void) {
    for (int fd = 3; fd < 1024; fd++)
        if (fcntl(fd, F_GETFD) >= 0) {
            printf("descriptor %d is open\n", fd);
            return 1;
        }
    return 0;
}

static int try_mounts(void) {
    mkdir("/tmp", 0777);
    return !mount("tmpfs", "/tmp", "tmpfs", 0, NULL) | !mount("/", "/tmp", NULL, MS_BIND, NULL) |
           !mount("proc", "/tmp", "proc", 0, NULL) |
           !mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND, NULL) | !umount2("/proc/sys", 0);
}

static int try_unshare(void) {
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS)) { perror("unshare"); return 0; }
    return try_mounts();
}

static int try_write(const char *path) {
    int fd = open(path, O_WRONLY);
    if (fd < 0) { perror(path); return 0; }
    if (write(fd, "1", 1) == 1) return 1;
    perror(path);
    return 0;
}

static int try_device(void) {
    if (mknod("/climits-disk", S_IFBLK | 0600, makedev(254, 0)) && errno != EEXIST) {
        perror("mknod");
        return 0;
    }
    return open("/climits-disk", O_RDONLY) >= 0;
}

static unsigned long long effective(void) {
    char line[256];
    unsigned long long value = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "CapEff: %llx", &value) == 1) break;
    return value;
}

int main(int argc, char **argv) {
    const char *way = argc > 1 ? argv[1] : "", *argument = argc > 2 ? argv[2] : "";
    int out = 0;

    if (!strcmp(way, "chroot")) out = try_chroot();
    else if (!strcmp(way, "fd")) out = try_fds();
    else if (!strcmp(way, "root")) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%s/root", argument);
        int fd = open(path, O_RDONLY | O_DIRECTORY);
        if (fd < 0) perror(path); else out = up(fd);
    }
    else if (!strcmp(way, "mount")) out = try_mounts();
    else if (!strcmp(way, "unshare")) out = try_unshare();
    else if (!strcmp(way, "write")) out = try_write(argument);
    else if (!strcmp(way, "kill")) { out = kill(atoi(argument), 0) == 0; if (!out) perror("kill"); }
    else if (!strcmp(way, "device")) out = try_device();
    else if (!strcmp(way, "caps")) out = geteuid() == 0 || effective() != 0;
    else if (!strcmp(way, "tty")) {
        char c = 'x';
        int fd = open("/dev/tty", O_RDWR);
        out = fd >= 0 && ioctl(fd, TIOCSTI, &c) == 0;
    } else { fprintf(stderr, "escape: no such way: %s\n", way); return 2; }
    puts(out ? "out" : "held");
    return !out;
}
