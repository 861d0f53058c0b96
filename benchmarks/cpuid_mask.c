/* Hides features of an x86-64 processor from all libraries of a process but the C library, which reads them before this
 * one is loaded: for `native.py`, on Linux.
 *
 * Loaded by LD_PRELOAD. The kernel is asked to stop the process at each `cpuid` instruction; a handler executes it,
 * clears the features that CPUID_MASK names, and goes on behind it. The kernel offers this only on processors with
 * "cpuid_fault" in /proc/cpuinfo. CPUID_MASK is a list of hexadecimal words, one for each register in `hidden`.
 */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

static unsigned hidden[5]; /* leaf 7, subleaf 0: EBX, ECX, EDX; subleaf 1: EAX, EDX */
static struct sigaction before;

static long cpuid_allowed(long allowed) { return syscall(SYS_arch_prctl, ARCH_SET_CPUID, allowed); }

static void answer(int number, siginfo_t *info, void *state)
{
    greg_t *registers = ((ucontext_t *)state)->uc_mcontext.gregs;
    const unsigned char *at = (const unsigned char *)registers[REG_RIP];
    unsigned a, b, c, d, leaf = (unsigned)registers[REG_RAX], sub = (unsigned)registers[REG_RCX];

    if (info->si_code != SI_KERNEL || at[0] != 0x0F || at[1] != 0xA2) { /* a real fault */
        sigaction(number, &before, NULL);
        return;
    }
    cpuid_allowed(1);
    __cpuid_count(leaf, sub, a, b, c, d);
    cpuid_allowed(0);
    if (leaf == 7 && sub == 0) {
        b &= ~hidden[0];
        c &= ~hidden[1];
        d &= ~hidden[2];
    } else if (leaf == 7 && sub == 1) {
        a &= ~hidden[3];
        d &= ~hidden[4];
    }
    registers[REG_RAX] = a;
    registers[REG_RBX] = b;
    registers[REG_RCX] = c;
    registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void hide(void)
{
    struct sigaction action;
    const char *words = getenv("CPUID_MASK");

    if (words == NULL ||
        sscanf(words, "%x %x %x %x %x", hidden, hidden + 1, hidden + 2, hidden + 3, hidden + 4) != 5) {
        fputs("CPUID_MASK must hold five hexadecimal words\n", stderr);
        exit(2);
    }
    memset(&action, 0, sizeof action);
    action.sa_sigaction = answer;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    if (sigaction(SIGSEGV, &action, &before) != 0 || cpuid_allowed(0) != 0) {
        fputs("this kernel or processor cannot stop a process at cpuid\n", stderr);
        exit(3);
    }
}
