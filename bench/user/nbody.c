/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Five bodies under gravity: double precision adds, multiplies, divides and square roots. Built twice, for
 * x87 and for SSE2. */
#include "bench.h"
#include <math.h>

struct body {
    double x, y, z, vx, vy, vz, m;
};

/* The Sun and the four outer planets in solar masses, astronomical units and years (JPL ephemeris values). */
#define MASS (4 * M_PI * M_PI)
static struct body b[5] = {
    {0, 0, 0, 0, 0, 0, MASS},
    {4.84143144246472090, -1.16032004402742839, -0.103622044471123109, 0.606326392995832, 2.81198684491626,
     -0.0252183616598876, 9.54791938424326609e-4 * MASS},
    {8.34336671824457987, 4.12479856412430479, -0.403523417114321381, -1.01077434617879, 1.82566237123041,
     0.00841576137658415, 2.85885980666130812e-4 * MASS},
    {12.8943695621391310, -15.1111514016986312, -0.223307578892655734, 1.08279100644154, 0.868713018169608,
     -0.0108326374013636, 4.36624404335156298e-5 * MASS},
    {15.3796971148509165, -25.9193146099879641, 0.179258772950371181, 0.979090732243898, 0.594698998647676,
     -0.0347559555078104, 5.15138902046611451e-5 * MASS},
};

static void step(double dt)
{
    for (int i = 0; i < 5; i++)
        for (int j = i + 1; j < 5; j++) {
            double dx = b[i].x - b[j].x, dy = b[i].y - b[j].y, dz = b[i].z - b[j].z;
            double d2 = dx * dx + dy * dy + dz * dz, mag = dt / (d2 * sqrt(d2));
            b[i].vx -= dx * b[j].m * mag;
            b[i].vy -= dy * b[j].m * mag;
            b[i].vz -= dz * b[j].m * mag;
            b[j].vx += dx * b[i].m * mag;
            b[j].vy += dy * b[i].m * mag;
            b[j].vz += dz * b[i].m * mag;
        }
    for (int i = 0; i < 5; i++) {
        b[i].x += dt * b[i].vx;
        b[i].y += dt * b[i].vy;
        b[i].z += dt * b[i].vz;
    }
}

int main(int argc, char **argv)
{
    unsigned steps = bench_work(argc, argv, 5000000);
    bench_start();
    while (steps--)
        step(0.01);
    bench_end(BENCH_NAME, bench_hash(b, sizeof(b)));
    return 0;
}
