/* Preloaded into a server: notes how much of each file has been synced, beside it in NAME.synced. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int noted(int fd, const char *name) {
    int (*sync_file)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    struct stat before;
    int known = fstat(fd, &before) == 0 && S_ISREG(before.st_mode);
    int failed = sync_file(fd);
    char link[64], path[4096];
    ssize_t length;
    if (failed || !known) return failed;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path - sizeof ".synced");
    if (length > 0) {
        strcpy(path + length, ".synced");
        int note = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (note >= 0) {
            char text[32];
            int size = snprintf(text, sizeof text, "%020lld", (long long)before.st_size);
            if (pwrite(note, text, size, 0) != size) fprintf(stderr, "synced: cannot note\n");
            close(note);
        }
    }
    return 0;
}

int fsync(int fd) { return noted(fd, "fsync"); }
int fdatasync(int fd) { return noted(fd, "fdatasync"); }
