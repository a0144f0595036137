/* A broker for tests in C and C++: runs partlogd, found by the environment variable PARTLOGD or on the PATH. POSIX alone is needed. */
#ifndef PARTLOGD_H
#define PARTLOGD_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    pid_t pid;
    char bootstrap[512]; /* for bootstrap.servers */
    char control[512];   /* the URL of the control endpoint */
    char ready[64];
} partlogd;

/* partlogd_start runs a broker in memory with the topics of a list such as "orders:1,events:6", and returns 0 when it takes connections. */
static int partlogd_start(partlogd *b, const char *topics) {
    int out[2];
    char line[512];
    FILE *f;
    const char *program = getenv("PARTLOGD");
    memset(b, 0, sizeof *b);
    if (program == NULL) program = "partlogd";
    strcpy(b->ready, "/tmp/partlogd-ready-XXXXXX");
    int fd = mkstemp(b->ready);
    if (fd < 0 || pipe(out) != 0) return -1;
    close(fd);
    b->pid = fork();
    if (b->pid < 0) return -1;
    if (b->pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        close(out[0]);
        close(out[1]);
        execlp(program, program, "--quiet", "--override", "listeners=PLAINTEXT://127.0.0.1:0", "--override",
               "group.initial.rebalance.delay.ms=0", "--control", "127.0.0.1:0", "--ready-file", b->ready, "--topics", topics, (char *)NULL);
        perror(program);
        _exit(127);
    }
    close(out[1]);
    f = fdopen(out[0], "r");
    if (f == NULL || fgets(line, sizeof line, f) == NULL || strcmp(line, "partlogd ready\n") != 0) {
        if (f != NULL) fclose(f);
        waitpid(b->pid, NULL, 0);
        return -1;
    }
    fclose(f);
    if ((f = fopen(b->ready, "r")) == NULL) return -1;
    while (fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "bootstrap.servers=", 18) == 0) snprintf(b->bootstrap, sizeof b->bootstrap, "%s", line + 18);
        if (strncmp(line, "control=", 8) == 0) snprintf(b->control, sizeof b->control, "%s", line + 8);
    }
    fclose(f);
    return b->bootstrap[0] ? 0 : -1;
}

/* partlogd_stop ends it and returns its exit status. */
static int partlogd_stop(partlogd *b) {
    int status = 0;
    kill(b->pid, SIGTERM);
    waitpid(b->pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#endif
