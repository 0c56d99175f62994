// libcrypt's own header: crypt_gensalt_rn and crypt_r, with bcrypt among its methods.
#include <crypt.h>
