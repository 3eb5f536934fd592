/* climits-init: process 1 of a container.
 *
 *   climits-init FD COMMAND ARGUMENT...
 *
 * Starts the command, passes signals on to it, reaps what is orphaned, and ends when the command
 * has ended: with its status, or 128 + N.  To the descriptor FD it writes two ints: 0 once the
 * command runs, or the errno of the exec that failed; and in the end how the command ended, as
 * wait gives it, since process 1 cannot die of a signal itself.
 * Linked statically: the container may have no C library.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void tell(int fd, int value) { (void)!write(fd, &value, sizeof value); }

int main(int argc, char **argv) {
    sigset_t all, old;
    int outcome[2], error = 0, status;

    /* Nobody inside may look into its memory, its descriptors or the file it was made of. */
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    prctl(PR_SET_NAME, "climits-init"); /* or it would have the number of a descriptor */
    if (argc < 3) return 125;
    int report = atoi(argv[1]);
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &old);
    pid_t child = pipe2(outcome, O_CLOEXEC) || fcntl(report, F_SETFD, FD_CLOEXEC) ? -1 : fork();
    if (child < 0) {
        tell(report, errno);
        return 125;
    }
    if (child == 0) {
        sigprocmask(SIG_SETMASK, &old, NULL);
        execvp(argv[2], argv + 2);
        tell(outcome[1], errno);
        _exit(127);
    }
    close(outcome[1]);
    if (read(outcome[0], &error, sizeof error) <= 0) error = 0; /* closed by a good exec */
    close(outcome[0]);
    tell(report, error);
    for (;;) {
        siginfo_t info;
        int sig = sigwaitinfo(&all, &info);
        /* What the terminal sends, the command has got itself: it is in the same group. */
        if (sig > 0 && sig != SIGCHLD && info.si_code != SI_KERNEL) kill(child, sig);
        if (sig != SIGCHLD) continue;
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
            if (pid != child) continue;
            tell(report, status);
            _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
        }
    }
}
