/* Plug-in for QEMU that counts how often each instruction is executed.
 *
 *   qemu-aarch64 -plugin count.so,out=counts.bin PROGRAM
 *
 * QEMU translates code in blocks; the first instruction of a block is its only entry, and its last the only exit, apart
 * from exceptions. Each block therefore has one counter. When the program ends, the file has a record for each block:
 * the counter and the number of instructions (64 bits each), then the address of each instruction (64 bits).
 *
 * A program in user mode can mark a moment by the system call getpriority(MARK, k), which fails: counts.bin.k then has
 * the counts since the mark before, or since the start. The file at the end has those since the last mark.
 *
 * Debian's packages of QEMU lack qemu-plugin.h, so the functions of its interface that are used here are declared. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef PLUGIN_API
#define PLUGIN_API 1 /* version of the interface: 1 up to QEMU 8, 2 from QEMU 9 on */
#endif
#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { CALLBACK_READS_NO_REGISTERS = 0, MARK = 0x4D4E };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*callback)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(
    struct qemu_plugin_tb *block, void (*callback)(unsigned int, void *), int flags, void *data);
void qemu_plugin_register_atexit_cb(plugin_id id, void (*callback)(plugin_id, void *), void *data);
void qemu_plugin_register_vcpu_syscall_cb(
    plugin_id id, void (*callback)(plugin_id, unsigned int, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                   uint64_t, uint64_t, uint64_t));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t at);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *instruction);

EXPORT extern int qemu_plugin_version;
EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv);

int qemu_plugin_version = PLUGIN_API;

struct block {
    struct block *next;
    uint64_t executed;
    uint64_t length;
    uint64_t addresses[];
};

static struct block *blocks;
static const char *path;

/* Threads of the program execute and translate blocks at the same time. */
static void count(unsigned int processor, void *data) {
    struct block *const block = data;
    (void)processor;
    __atomic_fetch_add(&block->executed, 1, __ATOMIC_RELAXED);
}

static void translated(plugin_id id, struct qemu_plugin_tb *tb) {
    const size_t length = qemu_plugin_tb_n_insns(tb);
    struct block *const block = malloc(sizeof *block + length * sizeof block->addresses[0]);
    (void)id;
    if (block == NULL)
        abort();
    block->executed = 0;
    block->length = length;
    for (size_t i = 0; i < length; i++)
        block->addresses[i] = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, i));
    block->next = __atomic_load_n(&blocks, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&blocks, &block->next, block, 1, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        ;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, count, CALLBACK_READS_NO_REGISTERS, block);
}

/* Write all counts to a file, and set them to zero. */
static void write_counts(const char *name) {
    FILE *const file = fopen(name, "wb");
    if (file == NULL) {
        perror(name);
        return;
    }
    for (struct block *block = __atomic_load_n(&blocks, __ATOMIC_ACQUIRE); block != NULL; block = block->next) {
        if (block->executed)
            fwrite(&block->executed, sizeof(uint64_t), 2 + block->length, file);
        block->executed = 0;
    }
    if (fclose(file))
        perror(name);
}

static void ended(plugin_id id, void *data) {
    (void)id;
    (void)data;
    write_counts(path);
}

static void called(plugin_id id, unsigned int processor, int64_t number, uint64_t which, uint64_t who, uint64_t a3,
                   uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
    (void)id, (void)processor, (void)number, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (which == MARK) {
        char name[4096];
        snprintf(name, sizeof name, "%s.%" PRIu64, path, who);
        write_counts(name);
    }
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
    (void)info;
    if (argc != 1 || strncmp(argv[0], "out=", 4)) {
        fputs("usage: -plugin count.so,out=FILE\n", stderr);
        return 1;
    }
    path = strdup(argv[0] + 4);
    if (path == NULL)
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
